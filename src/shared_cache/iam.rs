//! IAM tokens of Amazon ElastiCache. The AWS credentials that sign them are found and renewed by a
//! task of their own, because a source of credentials may take longer than connecting may.

mod token;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use aws_config::{BehaviorVersion, Region};
use aws_credential_types::{
    Credentials,
    provider::{ProvideCredentials as _, error::CredentialsError},
};
use tokio::{
    sync::{Notify, watch},
    task::AbortHandle,
};
use zeroize::Zeroizing;

use super::{
    fault::{Fault, FaultKind},
    target::Iam,
};
use crate::{
    aws_credentials::{RenewedSearch, keep_renewed},
    outgoing::Outgoing,
    telemetry::error_chain,
};

/// Signs tokens. Dropping it ends its task.
#[derive(Debug)]
pub(super) struct IamTokens {
    iam: Iam,
    found: watch::Receiver<Found>,
    renewal: Arc<Notify>,
    task: AbortHandle,
}

/// What the last search for credentials has found.
#[derive(Clone, Debug)]
enum Found {
    NotYet,
    Nothing(Fault),
    Signer(Signer),
}

/// What signs a token.
#[derive(Clone, Debug)]
struct Signer {
    credentials: Credentials,
    region: String,
}

impl IamTokens {
    /// Begins to search for credentials. Must be called in the runtime in which the link lives.
    pub(super) fn start(iam: &Iam, outgoing: &Outgoing) -> Self {
        let (sender, found) = watch::channel(Found::NotYet);
        let renewal = Arc::new(Notify::new());
        let search = Search { iam: iam.clone(), outgoing: outgoing.clone(), found: sender };
        #[expect(clippy::disallowed_methods, reason = "ends with the tokens")]
        let task = tokio::spawn(keep_renewed(search, Arc::clone(&renewal))).abort_handle();
        Self { iam: iam.clone(), found, renewal, task }
    }

    /// The name of the user.
    pub(super) fn user(&self) -> &str {
        &self.iam.user
    }

    /// Signs a token that is valid from now on, for 15 min. Waits for the first search, up to 30 s.
    pub(super) async fn token(&self) -> Result<Zeroizing<String>, Fault> {
        let mut found = self.found.clone();
        let searched = found.wait_for(|found| !matches!(found, Found::NotYet)).await;
        let found = searched.map(|found| found.clone()).unwrap_or(Found::NotYet);
        match found {
            Found::Signer(Signer { credentials, region }) => {
                token::sign(&self.iam, &region, credentials, SystemTime::now())
            }
            Found::Nothing(fault) => Err(fault),
            Found::NotYet => Err(invalid("no credentials")),
        }
    }

    /// Has the credentials renewed, because the store refused a token.
    pub(super) fn refused(&self) {
        self.renewal.notify_one();
    }
}

impl Drop for IamTokens {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Finds the credentials.
struct Search {
    iam: Iam,
    outgoing: Outgoing,
    found: watch::Sender<Found>,
}

impl RenewedSearch for Search {
    type Found = Signer;
    type Error = Fault;

    async fn search(&self) -> Result<Signer, Fault> {
        let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .http_client(self.outgoing.aws_client(MAX_BODY_BYTES));
        if let Some(region) = &self.iam.region {
            loader = loader.region(Region::new(region.clone()));
        }
        let config = loader.load().await;
        let region = config
            .region()
            .map(ToString::to_string)
            .ok_or_else(|| invalid("there is no AWS Region: set shared_cache.iam.region or AWS_REGION"))?;
        let provider = config.credentials_provider().ok_or_else(CredentialsError::not_loaded_no_source)?;
        let credentials = provider.provide_credentials().await?;
        Ok(Signer { credentials, region })
    }

    fn renew_in(&self, signer: &Signer) -> Duration {
        renew_in(signer.credentials.expiry(), SystemTime::now())
    }

    fn publish(&self, result: Result<Signer, Fault>) {
        match result {
            Ok(signer) => drop(self.found.send_replace(Found::Signer(signer))),
            Err(fault) => {
                self.found.send_if_modified(|found| found.set_nothing(fault));
            }
        }
    }
}

impl Found {
    /// Replaces what is not a signer. Old credentials stay in use, as AWS may have extended them.
    fn set_nothing(&mut self, fault: Fault) -> bool {
        let is_replaced = !matches!(self, Self::Signer(_));
        if is_replaced {
            *self = Self::Nothing(fault);
        }
        is_replaced
    }
}

/// Returns when to renew credentials: every 5 min, as a source may change, or before they expire.
fn renew_in(expiry: Option<SystemTime>, now: SystemTime) -> Duration {
    let left = expiry.map(|expiry| expiry.duration_since(now).unwrap_or_default());
    left.map_or(REREAD, |left| (left / 2).min(REREAD))
}

impl From<CredentialsError> for Fault {
    fn from(error: CredentialsError) -> Self {
        invalid(format_args!("no AWS credentials: {}", error_chain(&error)))
    }
}

fn invalid(problem: impl std::fmt::Display) -> Fault {
    Fault::new(FaultKind::Settings, format_args!("shared_cache.iam: {problem}"))
}

const REREAD: Duration = Duration::from_secs(5 * 60);
// The responses of AWS's credential services are far smaller.
const MAX_BODY_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_renewed_before_they_expire() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        for (left, expected) in [(3600, 300), (600, 300), (360, 180), (10, 5), (0, 0)] {
            let expiry = now + Duration::from_secs(left);
            assert_eq!(renew_in(Some(expiry), now), Duration::from_secs(expected), "{left}");
        }
        assert_eq!(renew_in(Some(now - REREAD), now), Duration::ZERO, "expired");
        assert_eq!(renew_in(None, now), REREAD);
    }

    #[test]
    fn old_credentials_stay_in_use_while_no_others_are_found() {
        let credentials = Credentials::new("id", "key", None, None, "test");
        let mut found = Found::Signer(Signer { credentials, region: "eu-west-1".to_owned() });
        assert!(!found.set_nothing(invalid("gone")) && matches!(found, Found::Signer(_)));
        for mut found in [Found::NotYet, Found::Nothing(invalid("still"))] {
            assert!(found.set_nothing(invalid("gone")) && matches!(found, Found::Nothing(_)));
        }
    }
}
