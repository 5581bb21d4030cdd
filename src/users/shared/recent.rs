//! The invalidations that this process has heard of lately.

use std::time::Duration;

use crate::{
    cache::{Cache, shared_allocation},
    pool::PoolId,
    shared_cache::ServerTime,
    telemetry::metrics::Counter,
    user::Sub,
};

/// When each user was last invalidated, by the clock of the store. It outlives every older entry, in
/// this process and in the store.
#[derive(Debug)]
pub(super) struct RecentInvalidations {
    users: Cache<(PoolId, Sub), ServerTime>,
    evicted: Counter,
}

impl RecentInvalidations {
    /// Remembers each invalidation for as long as an entry is usable.
    pub(super) fn new(usable: Duration) -> Self {
        let evicted = Counter::default();
        let ttl = usable * 11 / 10;
        Self { users: Cache::new(MAX_BYTES, heap_bytes, move |_| ttl, evicted.clone()), evicted }
    }

    /// Returns when the user was last invalidated, if lately.
    pub(super) fn of(&self, pool: &PoolId, sub: &Sub) -> Option<ServerTime> {
        self.users.get(&(pool.clone(), sub.clone()))
    }

    /// Notes an invalidation. Returns whether others were forgotten because there are too many, so
    /// that older entries must be confirmed.
    pub(super) fn note(&self, pool: &PoolId, sub: &Sub, at: ServerTime) -> bool {
        let user = (pool.clone(), sub.clone());
        let at = self.users.get(&user).map_or(at, |known| known.max(at));
        let before = self.evicted.get();
        self.users.insert(user, at);
        self.evicted.get() > before
    }
}

fn heap_bytes((_, sub): &(PoolId, Sub), _: &ServerTime) -> usize {
    shared_allocation(sub.as_str().len())
}

// Some 100,000 users.
const MAX_BYTES: u64 = 48 << 20;
