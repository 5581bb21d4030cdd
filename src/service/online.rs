//! Refuses tokens that Cognito says are revoked.

use tokio::time::Instant;

use super::Service;
use crate::{
    auth::{Credentials, Rejected},
    error::Error,
    policy::CallerRateLimit,
};

impl Service {
    /// Asks Cognito about the users' tokens of an authenticated call, where `revocation.online` says so.
    /// Waits for at most half of the time up to `deadline`, for each.
    pub(super) async fn check_online(
        &self,
        credentials: Credentials<'_>,
        caller_limit: CallerRateLimit,
        deadline: Instant,
    ) -> Result<(), Error> {
        if !self.users.checks_online() {
            return Ok(());
        }
        for token in Box::pin(self.authenticator.user_tokens(credentials)).await? {
            // Boxed to keep the future of a hit small.
            if Box::pin(self.users.is_revoked_online(&token, caller_limit, deadline)).await {
                // Counts it, as it is refused like any other.
                self.authenticator.authenticate(credentials).await?;
                return Err(Rejected::Revoked.into());
            }
        }
        Ok(())
    }
}
