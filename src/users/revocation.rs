//! Revokes the access tokens of a user. There is no other way to do so.

use std::time::SystemTime;

use super::{InvalidationFailure, Users};
use crate::auth::Revocation;

/// A revocation that is in force.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Revoked {
    /// Until when the tokens are refused. By then all of them have expired.
    pub until: SystemTime,
    /// Whether all replicas were told. Without a shared cache there is no way to tell others.
    pub reached_all_replicas: bool,
}

impl Users {
    /// Refuses access tokens from now on. What is cached of their user stays. Any order and any
    /// repetition of revocations ends in the same state.
    ///
    /// Takes microseconds. Cancel safe.
    pub async fn revoke(&self, revocation: Revocation) -> Result<Revoked, InvalidationFailure> {
        let until = self.0.tokens.revocations().revoke(&revocation);
        Ok(Revoked { until, reached_all_replicas: false })
    }
}
