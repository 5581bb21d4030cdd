//! Asks one pool's Cognito for a user, over the AWS SDK, and takes no other user for an answer.

mod answer;
mod bound;
mod credentials;
mod errand;
mod fault;
mod limits;
#[cfg(test)]
pub(super) mod network;

use std::{sync::Arc, time::Duration};

use aws_config::{SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use aws_sdk_cognitoidentityprovider::{
    Client,
    config::{self, ProvideCredentials as _, SharedCredentialsProvider},
};
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{error, warn};

pub(super) use self::errand::Payer;
use self::{bound::Bound, errand::Errand, fault::Alarm};
use super::{
    Failure,
    budget::{Budget, Category},
    snapshot::Asked,
    store::Key,
};
use crate::{
    policy::Known,
    pool::{Lookup, Pool},
    telemetry::{chain, metrics::upstream::Flaw},
    user::{Groups, User, Username},
};

/// The API of one pool, and the budget for it; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Cognito {
    client: Client,
    credentials: Option<SharedCredentialsProvider>,
    pool: Arc<Pool>,
    budget: Arc<Budget>,
    alarm: Arc<Alarm>,
}

impl Cognito {
    /// Prepares to ask; connects and looks for credentials only with the first call.
    pub(super) async fn connect(pool: Arc<Pool>, budget: Arc<Budget>) -> Self {
        let shared = credentials::config(&pool).await;
        if let (None, Some(url)) = (&pool.endpoint_url, shared.endpoint_url()) {
            warn!(pool.id = %pool.id, url, "AWS_ENDPOINT_URL or the AWS profile sends this pool's calls elsewhere");
        }
        Self::over(&shared, pool, budget)
    }

    /// As [`connect`](Self::connect), over what is given.
    pub(super) fn over(shared: &SdkConfig, pool: Arc<Pool>, budget: Arc<Budget>) -> Self {
        let times = TimeoutConfig::builder()
            .connect_timeout(ATTEMPT_TIMEOUT)
            .operation_attempt_timeout(ATTEMPT_TIMEOUT)
            .operation_timeout(TOTAL_TIMEOUT);
        let config = config::Builder::from(shared)
            .timeout_config(times.build())
            // A retry is paid for like every call, which the SDK cannot know of: `Errand` makes it.
            .retry_config(RetryConfig::disabled())
            .interceptor(Bound);
        let credentials = shared.credentials_provider();
        let client = Client::from_conf(config.build());
        Self { client, credentials, pool, budget, alarm: Arc::default() }
    }

    /// Returns when credentials were found, however long that takes.
    pub(super) async fn ready(&self) {
        let Some(credentials) = &self.credentials else { return };
        let mut wait = FIRST_WAIT;
        while let Err(error) = credentials.provide_credentials().await {
            warn!(pool.id = %self.pool.id, cause = chain(&error), "no AWS credentials yet");
            sleep(wait).await;
            wait = (wait * 2).min(LAST_WAIT);
        }
    }

    /// Returns the budget that pays for its calls.
    pub(super) fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// Returns what the first call about a user that is so known is paid from.
    pub(super) fn category(&self, known: &Known) -> Category {
        match (known, self.pool.bare_sub) {
            (Known::BySub, Lookup::ListUsers) => Category::Lists,
            _ => Category::UserReads,
        }
    }

    /// Asks for `user`, none if Cognito knows none, and tells how it was asked. The first call must be booked; all of
    /// them end within 2 s, for nobody waits longer.
    pub(super) async fn ask(
        &self,
        user: &Key,
        known: &Known,
        held: Option<&Username>,
        payer: Payer<'_>,
    ) -> (Asked, Result<Option<User>, Failure>) {
        let ends = Instant::now() + TOTAL_TIMEOUT;
        let mut errand = Errand::begin(self, user, payer, ends);
        let asking = async {
            match known {
                Known::ByToken(name) => (Asked::ByUsername, errand.admin_get_user(name.as_str()).await),
                Known::BySub => errand.by_sub(held).await,
            }
        };
        let answered = timeout_at(ends, asking).await;
        let (asked, outcome) = answered.unwrap_or_else(|_| (known.into(), Err(Failure::Unavailable)));
        self.report(&outcome);
        (asked, outcome)
    }

    /// As [`ask`](Self::ask), for the groups of `user`, which Cognito knows by `name`.
    pub(super) async fn ask_groups(
        &self,
        user: &Key,
        name: &Username,
        payer: Payer<'_>,
    ) -> Result<Option<Groups>, Failure> {
        let ends = Instant::now() + TOTAL_TIMEOUT;
        let mut errand = Errand::begin(self, user, payer, ends);
        let outcome = timeout_at(ends, errand.groups(name)).await.unwrap_or(Err(Failure::Unavailable));
        self.report(&outcome);
        outcome
    }

    fn report<T>(&self, outcome: &Result<T, Failure>) {
        let flaw = match outcome {
            Err(Failure::Garbled) => Some(Flaw::Garbled),
            Err(Failure::Mismatch) => Some(Flaw::Mismatch),
            _ => None,
        };
        if let (Some(flaw), Err(failure)) = (flaw, outcome) {
            self.budget.metrics().unusable(flaw);
            error!(pool.id = %self.pool.id, "{failure}");
        }
    }

    /// Lets the budget follow what Cognito tells of its quotas, if it tells; ends once it knows.
    pub(super) async fn learn_limits(self) {
        limits::learn(&self.client, &self.budget, &self.pool.region).await;
    }
}

// A second try must fit into the total, and the total into the 3 s a caller waits by default.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(1);
const TOTAL_TIMEOUT: Duration = Duration::from_secs(2);
// The endpoints of containers and instances answer late while a machine starts.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LAST_WAIT: Duration = Duration::from_secs(30);
