//! The calls that look up one user: each acquires the rate limit, and at most one is retried.

mod operations;

use std::{error::Error, time::Duration};

use aws_sdk_cognitoidentityprovider::error::{ProvideErrorMetadata, SdkError};
use tokio::time::{Instant, sleep};
use tracing::Instrument as _;

use super::{
    super::{
        Failure,
        cache::Key,
        limiter::{Acquire, Priority, QuotaCategory},
        single_flight::{Progress, Reporter},
    },
    Cognito,
    breaker::Outcome,
    error,
};
use crate::{
    policy::CallerRateLimit,
    telemetry::{
        metrics::{Label as _, upstream::CallOutcome},
        traces,
    },
};

/// The limits that the calls of a fetch are charged to.
#[derive(Clone, Copy, Debug)]
pub(in crate::users) struct Attribution<'a> {
    pub(in crate::users) priority: Priority,
    /// The limit of the first caller that waits for it.
    pub(in crate::users) caller_limit: Option<&'a CallerRateLimit>,
    reporter: &'a Reporter,
}

impl<'a> Attribution<'a> {
    /// A refresh is no caller's miss, so it is charged to no caller's limit.
    pub(in crate::users) fn of(
        priority: Priority,
        caller_limit: Option<&'a CallerRateLimit>,
        reporter: &'a Reporter,
    ) -> Self {
        let caller_limit = caller_limit.filter(|_| priority == Priority::Foreground);
        Self { priority, caller_limit, reporter }
    }
}

/// One lookup in progress.
#[derive(Debug)]
pub(super) struct Fetch<'a> {
    cognito: &'a Cognito,
    user: &'a Key,
    attribution: Attribution<'a>,
    ends: Instant,
    /// Whether the next call has acquired the rate limit. The first one has, before the fetch
    /// began.
    is_acquired: bool,
    is_retried: bool,
}

impl<'a> Fetch<'a> {
    /// Begins a lookup whose first call has acquired the rate limit. It should end by `ends`.
    pub(super) fn begin(
        cognito: &'a Cognito,
        user: &'a Key,
        attribution: Attribution<'a>,
        ends: Instant,
    ) -> Self {
        Self { cognito, user, attribution, ends, is_acquired: true, is_retried: false }
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
        self.acquire(category).await?;
        let mut call = self.cognito.breakers.begin(category)?;
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
            // Cognito failed: the retry is not another miss of the caller.
            let acquire = Acquire { caller_limit: None, ..self.requirement(category) };
            self.cognito.limiter.reserve_retry(&acquire).map_err(|_| failure)?;
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

    async fn acquire(&mut self, category: QuotaCategory) -> Result<(), Failure> {
        if std::mem::take(&mut self.is_acquired) {
            return Ok(());
        }
        self.cognito.check_circuit(category)?;
        let by = match self.attribution.priority {
            Priority::Background => Instant::now(),
            Priority::Foreground => self.ends,
        };
        let at = self.cognito.limiter.reserve(&self.requirement(category), by)?;
        self.attribution.reporter.send_replace(Progress::Queued(at));
        tokio::time::sleep_until(at).await;
        Ok(())
    }

    fn requirement(&self, category: QuotaCategory) -> Acquire<'a> {
        let Attribution { priority, caller_limit, .. } = self.attribution;
        Acquire { category, user: self.user, priority, caller_limit, is_continuation: true }
    }
}

const BACKOFF: Duration = Duration::from_millis(100);
