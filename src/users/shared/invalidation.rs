//! How an invalidation reaches the other replicas.

use std::time::Duration;

use prost::Message as _;

use super::{super::Invalidation, Shared, change::to_stored, recent};
use crate::{
    changes::Change,
    clock::TimePoint,
    pool::PoolId,
    shared_cache::{Binding, CallError, Invalidate, ServerTime, stored},
    telemetry::metrics::shared_entries::EventKind,
    user::Sub,
};

/// An invalidation that this replica has published.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Publication {
    pool: PoolId,
    sub: Sub,
    invalidation: Invalidation,
    change: Change,
}

impl Shared {
    /// Invalidates a user in the store: no entry from before is served or put by any replica. Must
    /// be followed by [`publish`](Self::publish); the other way round, a replica that heard of it
    /// early would read the old entry again.
    pub(in crate::users) async fn invalidate(
        &self,
        pool: &PoolId,
        sub: &Sub,
        invalidation: Invalidation,
    ) -> Result<ServerTime, CallError> {
        let erase = matches!(invalidation, Invalidation::Erase | Invalidation::Forget);
        let least_age = invalidation.least_age();
        let invalidate = Invalidate { erase, least_age, ttl: self.ttl };
        let at = self.store.invalidate(&self.user(pool, sub), invalidate).await?;
        // A time long past would invalidate nothing on the replicas that hear of it. One that is later
        // than asked for is that of another invalidation.
        let (latest, now) = (at + least_age, TimePoint::now().system);
        let is_of_another = least_age > Duration::ZERO && latest > ServerTime::of(now);
        if !latest.is_near(now) && !is_of_another {
            return Err(CallError::Clock);
        }
        self.note(pool, sub, at);
        Ok(at)
    }

    /// Tells the other replicas of an invalidation.
    pub(in crate::users) async fn publish(
        &self,
        pool: &PoolId,
        sub: &Sub,
        (invalidation, change): (Invalidation, Change),
        at: ServerTime,
    ) -> Result<(), CallError> {
        let kind = match invalidation {
            Invalidation::Erase => stored::EventKind::Erase,
            Invalidation::Expire | Invalidation::ExpireOlder(_) => stored::EventKind::Expire,
            Invalidation::Forget => stored::EventKind::Forget,
        };
        let least_age = invalidation.least_age().as_micros();
        let event = stored::Event {
            kind: kind.into(),
            pool: pool.as_str().to_owned(),
            sub: sub.as_str().to_owned(),
            invalidated_us: i64::try_from(at.as_micros()).unwrap_or(i64::MAX),
            origin: self.store.replica().to_vec(),
            least_age_us: i64::try_from(least_age).unwrap_or(i64::MAX),
            change: Some(to_stored(change.seen_now())),
        };
        self.publish_event(&event).await?;
        self.store.metrics().published.get(invalidation.into()).inc();
        Ok(())
    }

    /// Notes what this replica publishes, to repeat it after a failover.
    pub(in crate::users) fn note_publication(
        &self,
        pool: &PoolId,
        sub: &Sub,
        invalidation: Invalidation,
        change: Change,
    ) {
        // Repeated later, an age would be that of another time.
        let invalidation = match invalidation {
            Invalidation::ExpireOlder(_) => Invalidation::Expire,
            other => other,
        };
        self.publications.note(Publication { pool: pool.clone(), sub: sub.clone(), invalidation, change });
    }

    /// Tells the other replicas of an event.
    pub(super) async fn publish_event(&self, event: &stored::Event) -> Result<(), CallError> {
        let sealed = self.store.seal(Binding::Event, &event.encode_to_vec());
        self.store.publish(&sealed.map_err(|_| CallError::Failed)?).await
    }

    /// Repeats once what this replica has published lately, after a failover. What fails again is
    /// bounded by the TTL. Takes two calls for each user.
    pub(super) async fn republish(&self) {
        for Publication { pool, sub, invalidation, change } in self.publications.take() {
            if let Ok(at) = self.invalidate(&pool, &sub, invalidation).await {
                let _repeated = self.publish(&pool, &sub, (invalidation, change), at).await;
            }
        }
    }

    /// Notes an invalidation, of this replica or of another.
    pub(super) fn note(&self, pool: &PoolId, sub: &Sub, at: ServerTime) {
        let invalidated = recent::Change { invalidated: at, ..recent::Change::default() };
        self.recent.note(pool, sub, invalidated);
        self.suspect_what_was_forgotten();
    }
}

impl From<Invalidation> for EventKind {
    fn from(invalidation: Invalidation) -> Self {
        match invalidation {
            Invalidation::Erase => Self::Erase,
            Invalidation::Expire | Invalidation::ExpireOlder(_) => Self::Expire,
            Invalidation::Forget => Self::Forget,
        }
    }
}
