//! The AWS credentials that sign calls, found and renewed by a task of their own.
//!
//! Within a call, a source that is slower than the call's time limit would never be read. And the
//! SDK reads the AWS profile once, so it would not see a source that appears or changes later.

mod renewal;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use aws_config::{BehaviorVersion, ConfigLoader, Region, SdkConfig, sts::AssumeRoleProvider};
use aws_credential_types::{
    Credentials,
    provider::{self, ProvideCredentials, error::CredentialsError, future},
};
use tokio::{
    sync::{Notify, watch},
    task::AbortHandle,
};
use tracing::{info, warn};

pub use self::renewal::{Search as RenewedSearch, keep_renewed};
use crate::{
    config::AwsCredentials,
    outgoing::SharedHttpClient,
    pool::{PoolId, Role},
    telemetry::error_chain,
};

/// What signs calls, and for what.
#[derive(Clone, Debug)]
pub struct CredentialSource {
    /// Whether the credentials are those of the AWS chain.
    pub credentials: AwsCredentials,
    /// The Region that calls are signed for.
    pub region: String,
    /// The role to assume; none to use the service's own credentials.
    pub role: Option<Role>,
    /// The pool whose API they are for, for the log; none for the queue of changes.
    pub pool: Option<PoolId>,
}

/// Returns the SDK configuration of an API, at `endpoint_url` if it is not that of the Region, and the
/// credentials in it. It connects to nothing yet. Must be called in the runtime that makes the calls.
pub async fn configure(
    source: CredentialSource,
    endpoint_url: Option<&str>,
    http: SharedHttpClient,
) -> (SdkConfig, RenewedCredentials) {
    let loader = source.own(http.clone());
    let credentials = RenewedCredentials::start(source, http);
    let mut loader = loader.credentials_provider(credentials.clone());
    if let Some(url) = endpoint_url {
        loader = loader.endpoint_url(url);
    }
    (loader.load().await, credentials)
}

/// Credentials that a task keeps fresh; cheap to clone. The last clone ends the task.
#[derive(Clone, Debug)]
pub struct RenewedCredentials {
    found: watch::Receiver<Found>,
    renewal: Arc<Notify>,
    _task: Arc<Task>,
}

#[derive(Clone, Debug)]
enum Found {
    NotYet,
    /// The last attempt found none, and no earlier one did.
    Nothing,
    Credentials(Credentials),
}

impl RenewedCredentials {
    fn start(source: CredentialSource, http: SharedHttpClient) -> Self {
        let (sender, found) = watch::channel(Found::NotYet);
        let renewal = Arc::new(Notify::new());
        let search = Search { source, http, found: sender };
        #[expect(clippy::disallowed_methods, reason = "ends with the credentials")]
        let task = tokio::spawn(keep_renewed(search, Arc::clone(&renewal))).abort_handle();
        Self { found, renewal, _task: Arc::new(Task(task)) }
    }

    /// Waits, without a time limit, until there are credentials. Cancel safe.
    pub async fn ready(&self) {
        let found = |found: &Found| matches!(found, Found::Credentials(_));
        if self.found.clone().wait_for(found).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Has them renewed, because AWS refused these: they were rotated or revoked. At most one
    /// renewal in 5 s.
    pub fn refused(&self) {
        self.renewal.notify_one();
    }

    async fn get(&self) -> provider::Result {
        let mut found = self.found.clone();
        let searched = found.wait_for(|found| !matches!(found, Found::NotYet)).await;
        match searched.as_deref() {
            Ok(Found::Credentials(credentials)) => Ok(credentials.clone()),
            _ => Err(CredentialsError::not_loaded("no source has AWS credentials yet; the log says why")),
        }
    }
}

impl ProvideCredentials for RenewedCredentials {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.get())
    }
}

#[derive(Debug)]
struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Finds the credentials.
struct Search {
    source: CredentialSource,
    http: SharedHttpClient,
    found: watch::Sender<Found>,
}

impl renewal::Search for Search {
    type Found = Credentials;
    type Error = CredentialsError;

    async fn search(&self) -> provider::Result {
        let own = self.source.own(self.http.clone()).load().await;
        let Some(role) = &self.source.role else {
            let provider = own.credentials_provider();
            return provider.ok_or_else(CredentialsError::not_loaded_no_source)?.provide_credentials().await;
        };
        let mut provider = AssumeRoleProvider::builder(&role.arn).configure(&own).session_name(SESSION);
        if let Some(id) = &role.external_id {
            provider = provider.external_id(id);
        }
        provider.build().await.provide_credentials().await
    }

    fn renew_in(&self, credentials: &Credentials) -> Duration {
        renew_in(credentials.expiry(), SystemTime::now())
    }

    fn publish(&self, result: provider::Result) {
        match result {
            Ok(credentials) => self.use_found(credentials),
            Err(error) => self.report(&error),
        }
    }
}

impl Search {
    fn use_found(&self, mut credentials: Credentials) {
        // An expired one is used until there is another. AWS may have extended it, as it does while
        // instance metadata cannot be reached.
        *credentials.expiry_mut() = None;
        let previous = self.found.send_replace(Found::Credentials(credentials));
        if !matches!(previous, Found::Credentials(_)) {
            info!(pool.id = self.source.pool(), "AWS credentials found");
        }
    }

    fn report(&self, error: &CredentialsError) {
        let (pool, cause) = (self.source.pool(), error_chain(error));
        if matches!(*self.found.borrow(), Found::Credentials(_)) {
            warn!(
                pool.id = pool,
                cause, "the AWS credentials cannot be renewed, and the previous ones stay in use"
            );
        } else {
            warn!(pool.id = pool, cause, "no AWS credentials yet");
            self.found.send_replace(Found::Nothing);
        }
    }
}

impl CredentialSource {
    /// The service's own credentials, in the Region. The endpoint of the API is not that of AWS STS.
    fn own(&self, http: SharedHttpClient) -> ConfigLoader {
        let loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .http_client(http)
            .region(Region::new(self.region.clone()));
        match self.credentials {
            AwsCredentials::DefaultChain => loader,
            AwsCredentials::Placeholder => {
                let word = "placeholder";
                loader.credentials_provider(Credentials::new(word, word, None, None, word))
            }
        }
    }

    fn pool(&self) -> Option<&str> {
        self.pool.as_ref().map(PoolId::as_str)
    }
}

/// Returns when to renew credentials that expire at `expiry`: 5 min before, or in half of a time
/// that is short. Those that do not expire are read again after 15 min, as their source may change.
fn renew_in(expiry: Option<SystemTime>, now: SystemTime) -> Duration {
    let Some(expiry) = expiry else { return REREAD };
    let left = expiry.duration_since(now).unwrap_or_default();
    left.saturating_sub(MARGIN).max(left / 2)
}

// The session name by which CloudTrail distinguishes these calls from others of the role.
const SESSION: &str = "cognito-lookup";
const REREAD: Duration = Duration::from_secs(15 * 60);
const MARGIN: Duration = Duration::from_secs(5 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_renewed_before_they_expire() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        for (left, expected) in [(3600, 3300), (600, 300), (360, 180), (10, 5), (0, 0)] {
            let expiry = now + Duration::from_secs(left);
            assert_eq!(renew_in(Some(expiry), now), Duration::from_secs(expected), "{left}");
        }
        assert_eq!(renew_in(Some(now - REREAD), now), Duration::ZERO, "expired");
        assert_eq!(renew_in(None, now), Duration::from_secs(900));
    }
}
