//! The client of one pool's Cognito, over the AWS SDK. It never returns another user than the one
//! looked up.

mod body;
mod breaker;
mod error;
mod fetch;
#[cfg(any(test, feature = "fuzzing"))]
pub(super) mod fixtures;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod flaw;
mod lenient;
mod quotas;
mod response;
mod token_check;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use aws_config::{SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use aws_sdk_cognitoidentityprovider::{
    Client,
    config::{self, IdentityCache},
};
use tokio::time::{Instant, timeout_at};
use tracing::{error, warn};

use self::{body::BodyReader, breaker::Breakers, error::Alarm, fetch::Fetch, flaw::FieldLog};
pub(super) use self::{
    fetch::Access,
    token_check::{OPERATION as GET_USER, TokenCheck},
};
use super::{
    Failure,
    cache::Key,
    entry::LookupMethod,
    limiter::{QuotaCategory, RateLimiter},
};
use crate::{
    aws_credentials::{self, CredentialSource, RenewedCredentials},
    outgoing::Outgoing,
    policy::LookupKey,
    pool::{BareSubLookup, Pool},
    telemetry::metrics::upstream::{UnusableResponse, UpstreamMetrics},
    user::{Groups, User, Username},
};

/// The API of one pool, and its rate limiter; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Cognito {
    client: Client,
    /// None in a test without a network.
    credentials: Option<RenewedCredentials>,
    pool: Arc<Pool>,
    limiter: Arc<RateLimiter>,
    metrics: UpstreamMetrics,
    alarm: Arc<Alarm>,
    breakers: Arc<Breakers>,
    fields: Arc<FieldLog>,
}

impl Cognito {
    /// Prepares the client, and starts to look for credentials. Must be called in the runtime that
    /// calls Cognito.
    pub(super) async fn connect(
        pool: Arc<Pool>,
        limiter: Arc<RateLimiter>,
        metrics: &UpstreamMetrics,
        outgoing: &Outgoing,
    ) -> Self {
        let source = CredentialSource {
            credentials: pool.credentials,
            region: pool.region.clone(),
            role: pool.role.clone(),
            pool: Some(pool.id.clone()),
        };
        let (shared, credentials) = aws_credentials::configure(
            source,
            pool.endpoint_url.as_deref(),
            outgoing.aws_client(MAX_BODY_BYTES),
        )
        .await;
        if let (None, Some(url)) = (&pool.endpoint_url, shared.endpoint_url()) {
            // Without the rest, because a URL may hold a password.
            let host = url.parse::<http::Uri>().ok().and_then(|url| url.host().map(ToOwned::to_owned));
            warn!(pool.id = %pool.id, host, "AWS_ENDPOINT_URL or the AWS profile sends this pool's calls to another endpoint");
        }
        Self { credentials: Some(credentials), ..Self::over(&shared, pool, limiter, metrics) }
    }

    /// As [`connect`](Self::connect), with the given SDK configuration.
    pub(super) fn over(
        shared: &SdkConfig,
        pool: Arc<Pool>,
        limiter: Arc<RateLimiter>,
        metrics: &UpstreamMetrics,
    ) -> Self {
        let times = TimeoutConfig::builder()
            .connect_timeout(ATTEMPT_TIMEOUT)
            .operation_attempt_timeout(ATTEMPT_TIMEOUT)
            .operation_timeout(TOTAL_TIMEOUT);
        let fields = Arc::new(FieldLog { pool: pool.id.clone(), logged: Mutex::default() });
        let config = config::Builder::from(shared)
            .timeout_config(times.build())
            // A retry acquires the rate limit like every call, which the SDK cannot do, so `Fetch`
            // retries.
            .retry_config(RetryConfig::disabled())
            .interceptor(BodyReader(Arc::clone(&fields)))
            // The credentials are a cache themselves.
            .identity_cache(IdentityCache::no_cache());
        let client = Client::from_conf(config.build());
        let breakers = Arc::new(Breakers::new(&pool.id, metrics));
        let (metrics, alarm) = (metrics.clone(), Arc::default());
        Self { client, credentials: None, pool, limiter, metrics, alarm, breakers, fields }
    }

    /// Waits, without a time limit, until credentials are found.
    pub(super) async fn ready(&self) {
        if let Some(credentials) = &self.credentials {
            credentials.ready().await;
        }
    }

    /// Returns the pool.
    pub(super) fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// Returns the rate limiter of its account and Region.
    pub(super) fn limiter(&self) -> &Arc<RateLimiter> {
        &self.limiter
    }

    /// Fails if Cognito has not answered the last calls of this category in time.
    pub(super) fn check_circuit(&self, category: QuotaCategory) -> Result<(), Failure> {
        self.breakers.check(category)
    }

    /// Returns the quota category of the first call of a lookup by this key.
    pub(super) fn category(&self, lookup_key: &LookupKey) -> QuotaCategory {
        match (lookup_key, self.pool.bare_sub) {
            (LookupKey::Sub, BareSubLookup::ListUsers) => QuotaCategory::Lists,
            _ => QuotaCategory::UserReads,
        }
    }

    /// Returns the user, none if Cognito knows no such user, and the method used. `username` is the
    /// cached one. Its first call must have begun. All calls end within 2 s, because no caller
    /// waits longer.
    pub(super) async fn fetch_user(
        &self,
        user: &Key,
        lookup_key: &LookupKey,
        username: Option<&Username>,
        access: Access<'_>,
    ) -> (LookupMethod, Result<Option<User>, Failure>) {
        let ends = Instant::now() + TOTAL_TIMEOUT;
        let mut fetch = Fetch::begin(self, user, access, ends);
        let asking = async {
            match lookup_key {
                LookupKey::Username(name) => {
                    (LookupMethod::ByUsername, fetch.admin_get_user(name.as_str()).await)
                }
                LookupKey::Sub => fetch.by_sub(username).await,
            }
        };
        let answered = timeout_at(ends, asking).await;
        let (method, outcome) = answered.unwrap_or_else(|_| (lookup_key.into(), Err(Failure::Unavailable)));
        self.report(&outcome);
        (method, outcome)
    }

    /// As [`fetch_user`](Self::fetch_user), for the groups of `user`, which Cognito lists by
    /// `name`.
    pub(super) async fn fetch_groups(
        &self,
        user: &Key,
        name: &Username,
        access: Access<'_>,
    ) -> Result<Option<(Groups, bool)>, Failure> {
        let ends = Instant::now() + TOTAL_TIMEOUT;
        let mut fetch = Fetch::begin(self, user, access, ends);
        let outcome = timeout_at(ends, fetch.groups(name)).await.unwrap_or(Err(Failure::Unavailable));
        self.report(&outcome);
        outcome
    }

    fn report<T>(&self, outcome: &Result<T, Failure>) {
        match outcome {
            Err(Failure::Unreadable) => {
                self.metrics.unusable.get(UnusableResponse::Garbled).inc();
            }
            Err(failure @ Failure::WrongUser) => {
                self.metrics.unusable.get(UnusableResponse::Mismatch).inc();
                error!(pool.id = %self.pool.id, "{failure}");
            }
            _ => {}
        }
    }

    /// Waits for credentials, and then sets the rate limit from the quotas that Cognito reports, if
    /// IAM allows it. Ends after one round.
    pub(super) async fn learn_quotas(self) {
        self.ready().await;
        quotas::learn(&self.client, &self.limiter, &self.pool.region).await;
    }
}

// A retry must fit into the total, and the total into the 3 s that a caller waits by default.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(1);
const TOTAL_TIMEOUT: Duration = Duration::from_secs(2);
// The largest user has some 140 KB.
const MAX_BODY_BYTES: usize = 1 << 20;
