//! The credentials of a stream, which are checked for as long as it is open.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::time::sleep;

use super::{Authenticator, Caller, Credentials, Rejected, VerifiedTokens, bearer, verified::VerifiedToken};

/// The credentials of a stream.
#[derive(Debug)]
pub struct CredentialLease {
    token: Option<Arc<VerifiedToken>>,
    tokens: Arc<VerifiedTokens>,
    certificate_ends: Option<SystemTime>,
}

impl Authenticator {
    /// Returns the caller, as [`authenticate`](Self::authenticate), and what its credentials depend on.
    pub async fn authenticate_stream(
        &self,
        credentials: Credentials<'_>,
    ) -> Result<(Caller, CredentialLease), Rejected> {
        let Credentials { metadata, peer, .. } = credentials;
        let caller = self.authenticate(credentials).await?;
        let token = match bearer::in_metadata(metadata)? {
            Some(token) => Some(self.verify_ignoring_revocations(token).await?),
            None => None,
        };
        let certificate_ends = peer.certificate.as_ref().and_then(|certificate| certificate.valid_until());
        let tokens = Arc::clone(&self.verified);
        Ok((caller, CredentialLease { token, tokens, certificate_ends }))
    }
}

impl CredentialLease {
    /// Returns why the credentials are no longer accepted, if they are not.
    pub fn check(&self) -> Result<(), Rejected> {
        let now = SystemTime::now();
        let is_over = self.certificate_ends.is_some_and(|end| end < now)
            || self.token.as_ref().is_some_and(|token| !token.is_valid(now));
        match &self.token {
            _ if is_over => Err(Rejected::Expired),
            Some(token) if self.tokens.is_revoked(token) => Err(Rejected::Revoked),
            Some(_) | None => Ok(()),
        }
    }

    /// Completes within a second after the credentials are no longer accepted. Cancel safe.
    pub async fn ended(&self) -> Rejected {
        loop {
            if let Err(rejected) = self.check() {
                return rejected;
            }
            sleep(self.check_after(SystemTime::now())).await;
        }
    }

    /// Only a user's token can be revoked. There may be many streams with other credentials, so
    /// those are checked at their expiry and every 10 s.
    fn check_after(&self, now: SystemTime) -> Duration {
        if self.token.as_ref().is_some_and(|token| token.identity.user.is_some()) {
            return CHECK_INTERVAL;
        }
        let of_token = self.token.as_ref().map(|token| token.validity.time_left(now));
        let of_certificate = self.certificate_ends.map(|end| end.duration_since(now).unwrap_or_default());
        let ends = of_token.into_iter().chain(of_certificate).min().unwrap_or(LONGEST);
        ends.clamp(CHECK_INTERVAL, LONGEST)
    }
}

const CHECK_INTERVAL: Duration = Duration::from_secs(1);
// The system clock may be set, and keys may be withdrawn.
const LONGEST: Duration = Duration::from_secs(10);
