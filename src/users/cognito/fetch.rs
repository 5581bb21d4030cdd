//! The calls that look up one user: each acquires the rate limit, and at most one is retried.

mod operations;

use std::{error::Error, mem, time::Duration};

use aws_sdk_cognitoidentityprovider::error::{ProvideErrorMetadata, SdkError};
use tokio::time::{Instant, sleep};
use tracing::Instrument as _;

use super::{
    super::{
        Failure,
        cache::Key,
        limiter::{CallKind, QuotaCategory, Ticket},
        single_flight::Reporter,
    },
    Cognito,
    breaker::Outcome,
    error,
};
use crate::telemetry::{
    metrics::{Label as _, upstream::CallOutcome},
    traces,
};

/// What a fetch calls with: its ticket of the rate limiter, and the channel to its waiters.
#[derive(Clone, Copy, Debug)]
pub(in crate::users) struct Access<'a> {
    pub(in crate::users) ticket: &'a Ticket,
    pub(in crate::users) reporter: &'a Reporter,
}

/// One lookup in progress.
#[derive(Debug)]
pub(super) struct Fetch<'a> {
    cognito: &'a Cognito,
    user: &'a Key,
    access: Access<'a>,
    ends: Instant,
    /// Whether the rate limit has let the next call begin. It has for the first one, before the
    /// fetch began.
    is_begun: bool,
    is_retried: bool,
}

impl<'a> Fetch<'a> {
    /// Begins a lookup whose first call may begin. It should end by `ends`.
    pub(super) fn begin(cognito: &'a Cognito, user: &'a Key, access: Access<'a>, ends: Instant) -> Self {
        Self { cognito, user, access, ends, is_begun: true, is_retried: false }
    }

    /// Makes a call and retries it once if it failed. None if there is no such user. A throttled or
    /// denied call is not retried, because the retry would fail too.
    async fn call<T, E, F>(
        &mut self,
        category: QuotaCategory,
        send: impl Fn() -> F,
    ) -> Result<Option<T>, Failure>
    where
        E: ProvideErrorMetadata + Error + 'static,
        F: Future<Output = Result<T, SdkError<E>>>,
    {
        if !mem::take(&mut self.is_begun) {
            self.cognito.check_circuit(category)?;
            self.begin_call(category, CallKind::FollowUp).await?;
        }
        let breaker = self.cognito.breakers.begin(category);
        // No call is made.
        let mut call = breaker.inspect_err(|_| self.access.ticket.end(true))?;
        loop {
            call.outcome = Outcome::TimedOut;
            let (outcome, result) = self.attempt(category, send()).await;
            call.outcome = outcome;
            let failure = match result {
                Err(Failure::Unavailable) if !self.is_retried && !call.is_probe => Failure::Unavailable,
                ended => return ended,
            };
            self.is_retried = true;
            sleep(BACKOFF.mul_f64(fastrand::f64())).await;
            self.begin_call(category, CallKind::Retry).await.map_err(|_| failure)?;
        }
    }

    async fn attempt<T, E: ProvideErrorMetadata + Error + 'static>(
        &self,
        category: QuotaCategory,
        sent: impl Future<Output = Result<T, SdkError<E>>>,
    ) -> (Outcome, Result<Option<T>, Failure>) {
        let Cognito { alarm, credentials, limiter, metrics, pool, .. } = self.cognito;
        let call = metrics.begin_call(category.operation());
        let span = traces::cognito_span(category.operation(), &pool.region);
        let sent = sent.instrument(span.clone()).await;
        self.access.ticket.end(error::has_response(&sent));
        let outcome = sent.as_ref().err().map_or(CallOutcome::Answered, error::outcome);
        call.end(outcome);
        let error = match sent {
            Ok(output) => return (Outcome::Answered, Ok(Some(output))),
            Err(_) if outcome == CallOutcome::NotFound => return (Outcome::Answered, Ok(None)),
            Err(error) => error,
        };
        if let Some(flaw) = error::flaw(&error) {
            return (Outcome::Answered, Err(self.unusable(flaw)));
        }
        let failure = error::classify(&pool.id, category.operation(), &error, alarm);
        traces::set_error(&span, outcome.name(), true);
        if failure == Failure::Throttled {
            limiter.throttled(category);
        }
        if let Some(credentials) = credentials.as_ref().filter(|_| error::is_of_credentials(&error)) {
            credentials.refused();
        }
        let outcome = match outcome {
            _ if error.raw_response().is_some() => Outcome::Answered,
            CallOutcome::TimedOut => Outcome::TimedOut,
            _ => Outcome::Failed,
        };
        (outcome, Err(failure))
    }

    async fn begin_call(&self, category: QuotaCategory, kind: CallKind) -> Result<(), Failure> {
        let Access { ticket, reporter } = self.access;
        ticket.queue(category, kind, self.ends)?;
        if kind == CallKind::Retry {
            // Cognito is as slow as from the first attempt on.
            return ticket.begun().await;
        }
        reporter.queued();
        ticket.begun().await?;
        reporter.calling();
        Ok(())
    }
}

const BACKOFF: Duration = Duration::from_millis(100);
