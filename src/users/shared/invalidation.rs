//! How an invalidation reaches the other replicas.

use std::{
    collections::VecDeque,
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use prost::Message as _;

use super::{super::Invalidation, Shared, recent::Change};
use crate::{
    clock::{BootTime, TimePoint},
    pool::PoolId,
    shared_cache::{Binding, CallError, Invalidate, ServerTime, stored},
    telemetry::metrics::shared_entries::EventKind,
    user::Sub,
};

/// The invalidations that this replica has published lately. A failover of the store may lose the
/// last ones, so a new primary gets them again.
#[derive(Debug, Default)]
pub(super) struct Publications(Mutex<VecDeque<Publication>>);

#[derive(Debug)]
struct Publication {
    at: BootTime,
    pool: PoolId,
    sub: Sub,
    invalidation: Invalidation,
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
        let keeps_values = invalidation == Invalidation::Expire;
        let at = self
            .store
            .invalidate(&self.user(pool, sub), Invalidate { erase: !keeps_values, ttl: self.ttl })
            .await?;
        // A time long past would invalidate nothing on the replicas that hear of it.
        if !at.is_near(TimePoint::now().system) {
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
        invalidation: Invalidation,
        at: ServerTime,
    ) -> Result<(), CallError> {
        let kind = match invalidation {
            Invalidation::Erase => stored::EventKind::Erase,
            Invalidation::Expire => stored::EventKind::Expire,
            Invalidation::Forget => stored::EventKind::Forget,
        };
        let event = stored::Event {
            kind: kind.into(),
            pool: pool.as_str().to_owned(),
            sub: sub.as_str().to_owned(),
            invalidated_us: i64::try_from(at.as_micros()).unwrap_or(i64::MAX),
            origin: self.store.replica().to_vec(),
        };
        let sealed =
            self.store.seal(Binding::Event, &event.encode_to_vec()).map_err(|_| CallError::Failed)?;
        self.store.publish(&sealed).await?;
        self.store.metrics().published.get(invalidation.into()).inc();
        Ok(())
    }

    /// Notes what this replica publishes, to repeat it after a failover.
    pub(in crate::users) fn note_publication(&self, pool: &PoolId, sub: &Sub, invalidation: Invalidation) {
        self.publications.note(pool, sub, invalidation);
    }

    /// Repeats once what this replica has published lately, after a failover. What fails again is
    /// bounded by the TTL. Takes two calls for each user.
    pub(super) async fn republish(&self) {
        for Publication { pool, sub, invalidation, .. } in self.publications.take() {
            if let Ok(at) = self.invalidate(&pool, &sub, invalidation).await {
                let _repeated = self.publish(&pool, &sub, invalidation, at).await;
            }
        }
    }

    /// Notes an invalidation, of this replica or of another.
    pub(super) fn note(&self, pool: &PoolId, sub: &Sub, at: ServerTime) {
        let invalidated = Change { invalidated: at, ..Change::default() };
        self.recent.note(pool, sub, invalidated);
        self.suspect_what_was_forgotten();
    }
}

impl From<Invalidation> for EventKind {
    fn from(invalidation: Invalidation) -> Self {
        match invalidation {
            Invalidation::Erase => Self::Erase,
            Invalidation::Expire => Self::Expire,
            Invalidation::Forget => Self::Forget,
        }
    }
}

impl Publications {
    fn note(&self, pool: &PoolId, sub: &Sub, invalidation: Invalidation) {
        let (mut publications, at) = (self.lock(), BootTime::now());
        publications.retain(|old| {
            let is_same = old.sub == *sub && old.pool == *pool && old.invalidation == invalidation;
            !is_same && old.at.elapsed() < KEPT_FOR
        });
        if publications.len() < MAX_PUBLICATIONS {
            publications.push_back(Publication { at, pool: pool.clone(), sub: sub.clone(), invalidation });
        }
    }

    /// Removes and returns the recent ones, so that a store that fails over again and again has each
    /// once.
    fn take(&self) -> Vec<Publication> {
        let all = mem::take(&mut *self.lock());
        all.into_iter().filter(|publication| publication.at.elapsed() < KEPT_FOR).collect()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Publication>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// Replication is behind by less.
const KEPT_FOR: Duration = Duration::from_secs(10);
const MAX_PUBLICATIONS: usize = 10_000;
