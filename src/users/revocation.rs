//! Revokes the access tokens of a user. There is no other way to do so.

use std::time::SystemTime;

use super::{Invalidated, InvalidationFailure, Users};
use crate::{auth::Revocation, telemetry::metrics::Metrics};

/// A revocation that is in force.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Revoked {
    /// Until when the tokens are refused. By then all of them have expired.
    pub until: SystemTime,
    /// Whether all replicas were told. Without a shared cache there is no way to tell others.
    pub reached_all_replicas: bool,
}

impl Users {
    /// Adds the metric of whether the revocations of all replicas were read.
    pub(super) fn register_caught_up(&self, metrics: &Metrics) {
        let (shared, gauge) = (self.0.shared.clone(), metrics.tokens.caught_up.clone());
        metrics.scrape_callbacks.add(move || {
            gauge.set(shared.as_ref().is_none_or(|shared| shared.is_caught_up()).into());
        });
    }

    /// Refuses access tokens from now on, on all replicas. What is cached of their user stays. Any order and any
    /// repetition of revocations ends in the same state.
    ///
    /// Takes microseconds, and two calls of the shared cache if there is one. Cancel safe: a dropped
    /// future goes on in the background, and may be repeated.
    pub async fn revoke(&self, revocation: Revocation) -> Result<Revoked, InvalidationFailure> {
        let until = self.0.tokens.revocations().revoke(&revocation);
        let here = Revoked { until, reached_all_replicas: false };
        let Some(shared) = self.0.shared.clone() else { return Ok(here) };
        let everywhere = async move {
            shared.note_revocation(&revocation);
            let failed = |error| InvalidationFailure::SharedCache { here: Invalidated::default(), error };
            shared.publish_revocation(&revocation).await.map_err(failed)?;
            Ok(Revoked { reached_all_replicas: true, ..here })
        };
        self.0.single_flight.run(everywhere).await?
    }
}
