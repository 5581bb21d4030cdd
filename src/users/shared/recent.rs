//! What this process has heard lately that outdates the entries of other replicas.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

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
    /// How many of them were reported.
    reported: AtomicU64,
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
    /// Remembers each change for this time, which is at least that for which an entry is used.
    pub(super) fn new(ttl: Duration) -> Self {
        Self::bounded(ttl, MAX_BYTES)
    }

    fn bounded(ttl: Duration, max_bytes: u64) -> Self {
        let evicted = Counter::default();
        let users = Cache::new(max_bytes, heap_bytes, move |_| ttl, evicted.clone());
        Self { users, evicted, reported: AtomicU64::default() }
    }

    /// Returns the last changes of a user.
    pub(super) fn of(&self, pool: &PoolId, sub: &Sub) -> Change {
        self.users.get(&(pool.clone(), sub.clone())).unwrap_or_default()
    }

    /// Notes a change. An earlier one of the same user, which may come late, changes nothing.
    pub(super) fn note(&self, pool: &PoolId, sub: &Sub, change: Change) {
        self.users.upsert((pool.clone(), sub.clone()), |known| known.unwrap_or_default().and(change));
    }

    /// Returns whether changes were forgotten since the last call because there are too many, so that
    /// older entries must be confirmed.
    pub(super) fn has_forgotten(&self) -> bool {
        let evicted = self.evicted.get();
        self.reported.fetch_max(evicted, Relaxed) < evicted
    }
}

impl Change {
    fn and(self, other: Self) -> Self {
        Self { invalidated: self.invalidated.max(other.invalidated), gone: self.gone.max(other.gone) }
    }
}

fn heap_bytes((_, sub): &(PoolId, Sub), _: &Change) -> usize {
    shared_allocation(sub.as_str().len())
}

// Some 100,000 users.
const MAX_BYTES: u64 = 48 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: u64) -> ServerTime {
        ServerTime::from_micros(micros)
    }

    #[test]
    fn the_latest_change_of_each_kind_counts() {
        let (pool, [ada, bob]) =
            ("eu-west-1_A".parse().unwrap(), ["ada", "bob"].map(|sub| sub.parse().unwrap()));
        let changes = RecentChanges::new(Duration::from_secs(60));
        let now = BootTime::now();
        let before = now - Duration::from_secs(1);
        let (none, zero) = (BootTime::default(), ServerTime::ZERO);
        // What is noted, and what is known then.
        let table = [
            ((at(10), none), (at(10), none)),
            ((zero, now), (at(10), now)),
            ((at(9), before), (at(10), now)),
            ((at(11), none), (at(11), now)),
        ];
        for ((invalidated, gone), known) in table {
            changes.note(&pool, &ada, Change { invalidated, gone });
            assert_eq!(changes.of(&pool, &ada), Change { invalidated: known.0, gone: known.1 });
        }
        assert_eq!(changes.of(&pool, &bob), Change::default());
        assert_eq!(changes.of(&"eu-west-1_B".parse().unwrap(), &ada), Change::default());
        assert!(!changes.has_forgotten());
    }

    #[test]
    fn changes_that_were_forgotten_are_reported_once() {
        let pool = "eu-west-1_A".parse().unwrap();
        let changes = RecentChanges::bounded(Duration::from_secs(60), 20_000);
        let subs: Vec<Sub> = (0..200).map(|n| format!("user-{n}").parse().unwrap()).collect();
        for sub in &subs {
            changes.note(&pool, sub, Change { invalidated: at(1), ..Change::default() });
        }
        changes.users.maintain();
        assert_eq!(changes.of(&pool, &subs[0]), Change::default());
        assert_eq!([changes.has_forgotten(), changes.has_forgotten()], [true, false]);
    }
}
