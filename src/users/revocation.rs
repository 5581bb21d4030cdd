//! Revokes the access tokens of a user. There is no other way to do so.

use std::time::SystemTime;

use thiserror::Error;
use tokio::task::JoinError;

use super::{Users, announce::change_of, cognito::GET_USER, limiter::QuotaCategory};
use crate::{
    auth::{Revocation, RevokedTokens},
    pool::PoolId,
    shared_cache::CallError,
    telemetry::metrics::Metrics,
    user::Sub,
};

/// A revocation that is in force.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Revoked {
    /// Until when the tokens are refused. By then all of them have expired.
    pub until: SystemTime,
    /// Whether all replicas were told. Without a shared cache there is no way to tell others.
    pub reached_all_replicas: bool,
}

/// Why a revocation was not completed. It may be repeated.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum RevocationFailure {
    /// The memory is full of revocations that end later: the tokens are accepted.
    #[error("revocation.max_bytes is full: the tokens are not revoked")]
    Full,
    /// This replica refuses the tokens, but the shared cache did not confirm that the others do. The
    /// revocation is published again until it does.
    #[error("this replica revoked the tokens, but not the others for certain: {0}")]
    SharedCache(CallError),
    /// A task panicked, or the runtime shuts down.
    #[error("the task of the revocation panicked")]
    Panicked,
}

impl From<JoinError> for RevocationFailure {
    fn from(_: JoinError) -> Self {
        Self::Panicked
    }
}

impl Users {
    /// Adds the metrics of what this replica and the others know of each other's revocations.
    pub(super) fn register_revocation_metrics(&self, metrics: &Metrics) {
        if self.checks_online() {
            metrics.upstream.prepare(QuotaCategory::UserReads.as_str(), GET_USER);
        }
        let (shared, tokens) = (self.0.shared.clone(), metrics.tokens.clone());
        metrics.scrape_callbacks.add(move || {
            let unpublished = shared.as_ref().map_or(0, |shared| shared.unpublished_marks());
            tokens.unpublished.set(i64::try_from(unpublished).unwrap_or(i64::MAX));
            tokens.caught_up.set(shared.as_ref().is_none_or(|shared| shared.is_caught_up()).into());
        });
    }

    /// Suspects the tokens of a user that were issued until a time, on all replicas: some of them may be
    /// revoked, and Cognito is asked about each. Returns false, and does nothing, if it is never asked.
    ///
    /// Takes as long as [`revoke`](Self::revoke), fails as that does, and is safe to repeat.
    pub async fn suspect(
        &self,
        pool: &PoolId,
        sub: &Sub,
        until: SystemTime,
    ) -> Result<bool, RevocationFailure> {
        if !self.checks_online() {
            return Ok(false);
        }
        let tokens = RevokedTokens::SuspectsOfUser(sub.clone());
        self.revoke(Revocation { pool: pool.clone(), tokens, at: until }).await.map(|_| true)
    }

    /// Returns whether this revocation, or a later one of the same tokens, is in force here.
    pub fn has_revoked(&self, revocation: &Revocation) -> bool {
        self.0.tokens.revocations().has(revocation)
    }

    /// Refuses access tokens from now on, on all replicas. What is cached of their user stays. Any order
    /// and any repetition of revocations ends in the same state.
    ///
    /// Takes microseconds, and two calls of the shared cache if there is one. If these fail, they are
    /// repeated until they succeed or the revocation ends. Cancel safe: a dropped future goes on in the
    /// background, and may be repeated.
    pub async fn revoke(&self, revocation: Revocation) -> Result<Revoked, RevocationFailure> {
        let revocations = self.0.tokens.revocations();
        let until = revocations.revoke(&revocation).ok_or(RevocationFailure::Full)?;
        let here = Revoked { until, reached_all_replicas: false };
        let Some(shared) = self.0.shared.clone() else {
            if let Some((sub, change)) = change_of(&revocation) {
                self.changes().append((revocation.pool.clone(), sub.clone()), change);
            }
            return Ok(here);
        };
        let everywhere = {
            let revocation = revocation.clone();
            async move { shared.revoke(revocation).await }
        };
        self.0.single_flight.run(everywhere).await?.map_err(RevocationFailure::SharedCache)?;
        // Later ones may have taken its room meanwhile.
        let is_kept = until <= SystemTime::now() || revocations.has(&revocation);
        is_kept.then_some(Revoked { reached_all_replicas: true, ..here }).ok_or(RevocationFailure::Full)
    }
}
