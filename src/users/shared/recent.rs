//! What this process has heard lately that outdates the entries of other replicas.

use std::time::Duration;

use crate::{
    cache::{Cache, shared_allocation},
    clock::BootTime,
    pool::PoolId,
    shared_cache::ServerTime,
    telemetry::metrics::Counter,
    user::Sub,
};

/// The users that were invalidated, or found disabled or deleted. It outlives every older entry, in
/// this process and in the store: a store that fails over may bring one back.
#[derive(Debug)]
pub(super) struct RecentChanges {
    users: Cache<(PoolId, Sub), Change>,
    evicted: Counter,
}

/// What outdates the entries of a user. Each time is the default if there is none.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Change {
    /// When the user was last invalidated: fetches that began until then are outdated.
    pub(super) invalidated: ServerTime,
    /// When a response last said that the user is disabled or deleted. A fetch that began before may
    /// have read the user earlier, even if it began later than the one that got this response.
    pub(super) gone: BootTime,
}

impl RecentChanges {
    /// Remembers each change for as long as an entry is usable.
    pub(super) fn new(usable: Duration) -> Self {
        let evicted = Counter::default();
        let ttl = usable * 11 / 10;
        Self { users: Cache::new(MAX_BYTES, heap_bytes, move |_| ttl, evicted.clone()), evicted }
    }

    /// Returns the last changes of a user.
    pub(super) fn of(&self, pool: &PoolId, sub: &Sub) -> Change {
        self.users.get(&(pool.clone(), sub.clone())).unwrap_or_default()
    }

    /// Notes a change. Returns whether others were forgotten because there are too many, so that
    /// older entries must be confirmed.
    pub(super) fn note(&self, pool: &PoolId, sub: &Sub, change: Change) -> bool {
        let (known, before) = (self.of(pool, sub), self.evicted.get());
        let change = Change {
            invalidated: known.invalidated.max(change.invalidated),
            gone: known.gone.max(change.gone),
        };
        self.users.insert((pool.clone(), sub.clone()), change);
        self.evicted.get() > before
    }
}

fn heap_bytes((_, sub): &(PoolId, Sub), _: &Change) -> usize {
    shared_allocation(sub.as_str().len())
}

// Some 100,000 users.
const MAX_BYTES: u64 = 48 << 20;
