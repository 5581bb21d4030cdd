//! Snapshots by user, bounded in bytes. How old one may be is `entry`'s business.

use std::{hash::RandomState, mem::size_of, sync::Arc, time::Duration};

use quick_cache::{
    Lifecycle, Weighter,
    sync::{Cache, EntryAction, EntryResult},
};
use tokio::time::Instant;

use super::entry::{CacheEntry, Content, Ttls};
use crate::{
    freshness::StaleReason,
    pool::PoolId,
    room::Room,
    telemetry::metrics::{
        self, Counter, Metrics,
        cache::{CacheMetrics, StoreLabels},
    },
    user::{Groups, Sub, User},
};

/// Names one user, and what of it: never an alias, never a hash.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Key {
    pub(super) pool: PoolId,
    pub(super) sub: Sub,
    pub(super) kind: EntryKind,
}

/// What is fetched, and held, on its own.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum EntryKind {
    /// The groups a user is in.
    Groups,
    /// The user.
    Profile,
}

impl Key {
    /// Returns the key of another kind about the same user.
    pub(super) fn with_kind(&self, kind: EntryKind) -> Self {
        Self { kind, ..self.clone() }
    }
}

impl EntryKind {
    /// Every one of them.
    pub(super) const ALL: [Self; 2] = [Self::Profile, Self::Groups];
}

/// Users and absences, each in a cache of its own, so that questions for random subs never evict a user.
#[derive(Debug)]
pub(super) struct UserCache {
    present: Held,
    absent: Held,
    ttls: Ttls,
}

type Held = Arc<Cache<Key, CacheEntry, Weigh, RandomState, Evicted>>;

impl UserCache {
    /// Makes an empty cache of at most `max_bytes` of users and `max_absent_bytes` of absences.
    pub(super) fn new(
        max_bytes: u64,
        max_absent_bytes: u64,
        ttls: Ttls,
        cache_metrics: &CacheMetrics,
    ) -> Self {
        let (present, absent) =
            (bounded(max_bytes, cache_metrics, USERS), bounded(max_absent_bytes, cache_metrics, ABSENCES));
        Self { present, absent, ttls }
    }

    /// Shows how much is held, whenever the metrics are written.
    pub(super) fn register_metrics(&self, metrics: &Metrics) {
        for (of, cache) in [(USERS, Arc::clone(&self.present)), (ABSENCES, Arc::clone(&self.absent))] {
            let CacheMetrics { entries, bytes, .. } = &metrics.cache;
            let (entries, bytes) = (entries.get_or_create_owned(&of), bytes.get_or_create_owned(&of));
            metrics.scrape_callbacks.add(move || {
                entries.set(i64::try_from(cache.len()).unwrap_or(i64::MAX));
                bytes.set(i64::try_from(cache.weight()).unwrap_or(i64::MAX));
            });
        }
    }

    /// Returns the latest that is held of a user, whatever its age.
    pub(super) fn get(&self, key: &Key) -> Option<CacheEntry> {
        self.present.get(key).or_else(|| self.absent.get(key))
    }

    /// Notes on what is held of a user, if anything is, that Cognito could not answer just now.
    pub(super) fn note_failure(&self, key: &Key, reason: StaleReason) {
        let now = Instant::now();
        change(&self.present, key, |held| held.failed(now, reason));
    }

    /// Forgets everything about a user, and returns what was held: of the user or its groups, and an absence.
    pub(super) fn remove(&self, user: &Key) -> (bool, bool) {
        let present = EntryKind::ALL.map(|kind| self.present.remove(&user.with_kind(kind)).is_some());
        (present.contains(&true), self.absent.remove(user).is_some())
    }

    /// Makes what is held of a user count as past its freshness, and forgets an absence; tells whether anything was held.
    pub(super) fn expire(&self, user: &Key) -> bool {
        let expired =
            EntryKind::ALL.map(|kind| change(&self.present, &user.with_kind(kind), CacheEntry::expired));
        expired.contains(&true) | self.absent.remove(user).is_some()
    }

    /// Forgets what is too old to be served by any rule: nobody is kept for longer than they are of use, however much
    /// room there is. Looks at everything, and so is not for a thread that others wait for; who asks for a user waits while
    /// one shard is looked at, at most.
    pub(super) fn sweep(&self, now: Instant) {
        for (cache, ttl) in [(&self.present, self.ttls.usable), (&self.absent, self.ttls.absent)] {
            let longest = ttl * 11 / 10;
            cache.retain(|_, held| now.saturating_duration_since(held.began.monotonic) < longest);
        }
    }

    /// Returns what a entry takes, in bytes.
    pub(super) fn weight(key: &Key, held: &CacheEntry) -> u64 {
        weigh(key, held)
    }

    #[cfg(test)]
    pub(super) fn absent_bytes(&self) -> u64 {
        self.absent.weight()
    }

    /// Holds what a fetch brought. An absence leaves nothing else of that user: were a deleted user's entry left, it would
    /// be served again once the absence is gone. One user's fetches follow one another, so no two callers put the same
    /// key.
    pub(super) fn put(&self, key: Key, entry: CacheEntry) {
        match entry.content {
            Content::Absent(_) => {
                self.remove(&key);
                self.absent.insert(key, entry);
            }
            Content::Groups(_) => self.present.insert(key, entry),
            Content::Present(_) => {
                self.absent.remove(&key);
                self.present.insert(key, entry);
            }
        }
    }
}

fn bounded(max_bytes: u64, cache_metrics: &CacheMetrics, of: StoreLabels) -> Held {
    let room = Room { bytes: max_bytes, usual: USUAL_BYTES, shard: SHARD_BYTES, shards: MAX_SHARDS };
    Arc::new(room.cache(Weigh, Evicted(cache_metrics.evictions.get_or_create_owned(&of))))
}

/// Changes what is held under a key, in one step: what a fetch brings at the same moment must not be replaced by what was
/// held before it. Tells whether anything was held.
fn change(cache: &Held, key: &Key, change: impl FnOnce(CacheEntry) -> CacheEntry) -> bool {
    let changed = cache.entry(key, Some(Duration::ZERO), |_, held| {
        *held = change(held.clone());
        EntryAction::Retain(())
    });
    matches!(changed, EntryResult::Retained(()))
}

/// See [`weigh`].
#[derive(Clone, Debug)]
struct Weigh;

impl Weighter<Key, CacheEntry> for Weigh {
    fn weight(&self, key: &Key, held: &CacheEntry) -> u64 {
        weigh(key, held)
    }
}

/// Counts what is given up for want of room.
#[derive(Clone, Debug)]
struct Evicted(Counter);

impl Lifecycle<Key, CacheEntry> for Evicted {
    type RequestState = ();

    fn begin_request(&self) {}

    fn on_evict(&self, (): &mut (), _: Key, _: CacheEntry) {
        self.0.inc();
    }
}

fn weigh(key: &Key, entry: &CacheEntry) -> u64 {
    let content = match &entry.content {
        Content::Absent(_) => 0,
        Content::Groups(groups) => weigh_groups(groups),
        Content::Present(user) => weigh_user(user),
    };
    u64::try_from(ENTRY_BYTES + key.sub.as_str().len() + content).unwrap_or(u64::MAX)
}

fn weigh_groups(groups: &Groups) -> usize {
    let names = groups.names().map(|name| size_of::<Box<str>>() + ALLOCATION_BYTES + name.len());
    ALLOCATION_BYTES + names.sum::<usize>()
}

fn weigh_user(user: &User) -> usize {
    let allocations = [size_of::<User>(), user.username.as_str().len(), user.attributes.byte_len()];
    allocations.iter().map(|bytes| ALLOCATION_BYTES + bytes).sum()
}

const ABSENCES: StoreLabels = StoreLabels { store: metrics::cache::Store::Absences };
const USERS: StoreLabels = StoreLabels { store: metrics::cache::Store::Users };
// The cache's own cost of an entry with its key, from a measurement with a million users.
const ENTRY_BYTES: usize = 260;
// A user of ten short attributes.
const USUAL_BYTES: u64 = 700;
// A sweep holds a whole shard: half a millisecond for its 12,000 usual users, and 2 µs more for each that goes.
const SHARD_BYTES: u64 = 8 << 20;
const MAX_SHARDS: usize = 4096;
// An allocator's header and rounding.
const ALLOCATION_BYTES: usize = 16;

#[cfg(test)]
mod memory;

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use super::{
        super::entry::{LookupMethod, tests::TTLS},
        *,
    };
    use crate::{freshness::TimePoint, users::test_user};

    #[test]
    fn the_bound_holds_in_bytes() {
        let cache = UserCache::new(1 << 20, 1 << 20, TTLS, &CacheMetrics::default());
        for n in 0..200 {
            cache.put(key(n), present(large_user(&format!("user-{n}"), 70, 2000)));
        }
        assert!(cache.present.weight() <= 1 << 20);
        assert!((1..=7).contains(&cache.present.len()), "{}", cache.present.len());
    }

    #[test]
    fn no_shard_is_large_however_large_the_cache() {
        for (gibibytes, shards) in [(1, 128), (8, 1024), (32, 4096)] {
            let cache = UserCache::new(gibibytes << 30, 1 << 20, TTLS, &CacheMetrics::default());
            assert_eq!(cache.present.num_shards(), shards, "{gibibytes} GiB");
        }
    }

    #[test]
    fn who_is_given_up_for_want_of_room_is_counted_and_who_is_forgotten_is_not() {
        let cache_metrics = CacheMetrics::default();
        let cache = UserCache::new(1 << 20, 1 << 14, TTLS, &cache_metrics);
        let given_up = |of| cache_metrics.evictions.get_or_create_owned(&of).get();
        cache.put(key(0), present(test_user("user-0")));
        cache.put(key(0), absent());
        cache.remove(&key(0));
        assert_eq!((given_up(USERS), given_up(ABSENCES)), (0, 0));
        for n in 0..1000 {
            cache.put(key(n), absent());
        }
        let held = u64::try_from(cache.absent.len()).unwrap();
        assert_eq!((given_up(USERS), given_up(ABSENCES)), (0, 1000 - held));
        assert!(held < 1000);
    }

    #[test]
    fn groups_are_weighed() {
        let key = key(0).with_kind(EntryKind::Groups);
        let weight = |names: Vec<String>| {
            let content = Content::Groups(names.try_into().unwrap());
            UserCache::weight(&key, &CacheEntry { content, ..absent() })
        };
        let names = |length: usize| (0..100).map(|_| "g".repeat(length)).collect::<Vec<_>>();
        assert_eq!(weight(names(128)) - weight(names(8)), 100 * 120);
        assert!(weight(names(128)) >= weight(Vec::new()) + 100 * (128 + 16));
    }

    #[test]
    fn what_is_forgotten_is_counted_and_what_is_expired_is_kept() {
        let cache = UserCache::new(1 << 20, 1 << 20, TTLS, &CacheMetrics::default());
        let groups = || CacheEntry { content: Content::Groups(Groups::default()), ..absent() };
        assert_eq!((cache.remove(&key(0)), cache.expire(&key(0))), ((false, false), false));
        cache.put(key(0), present(test_user("user-0")));
        cache.put(key(0).with_kind(EntryKind::Groups), groups());
        assert!(cache.expire(&key(0)));
        for kind in EntryKind::ALL {
            assert!(cache.get(&key(0).with_kind(kind)).unwrap().expired);
        }
        assert_eq!(cache.remove(&key(0)), (true, false));
        assert!(EntryKind::ALL.iter().all(|kind| cache.get(&key(0).with_kind(*kind)).is_none()));
        cache.put(key(0).with_kind(EntryKind::Groups), groups());
        cache.put(key(0), absent());
        assert!(cache.get(&key(0).with_kind(EntryKind::Groups)).is_none(), "who is gone is in no group");
        assert_eq!(cache.remove(&key(0)), (false, true));
        cache.put(key(0), absent());
        assert!(cache.expire(&key(0)) && cache.get(&key(0)).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_kept_for_longer_than_of_use() {
        let cache = UserCache::new(1 << 20, 1 << 20, TTLS, &CacheMetrics::default());
        let begun = Instant::now();
        cache.put(key(0), present(test_user("user-0")));
        cache.put(key(1), absent());
        let longest = |ttl: Duration| ttl * 11 / 10;
        for (after, users, absences) in [
            (Duration::ZERO, 1, 1),
            (longest(TTLS.absent) - Duration::from_millis(1), 1, 1),
            (longest(TTLS.absent), 1, 0),
            (longest(TTLS.usable) - Duration::from_millis(1), 1, 0),
            (longest(TTLS.usable), 0, 0),
        ] {
            cache.sweep(begun + after);
            assert_eq!((cache.present.len(), cache.absent.len()), (users, absences), "{after:?}");
        }
    }

    #[test]
    fn the_largest_user_fits_into_the_smallest_cache() {
        let cache = UserCache::new(1 << 20, 1 << 20, TTLS, &CacheMetrics::default());
        for n in 0..40 {
            cache.put(key(n), present(large_user(&format!("user-{n}"), 70, 2048)));
            assert!(cache.get(&key(n)).is_some(), "{n}");
        }
        assert!(cache.present.weight() <= 1 << 20);
    }

    #[test]
    fn absences_never_evict_a_user() {
        let cache = UserCache::new(1 << 20, 1 << 14, TTLS, &CacheMetrics::default());
        cache.put(key(0), present(test_user("user-0")));
        for n in 1..10_000 {
            cache.put(key(n), absent());
        }
        assert!(cache.absent.weight() <= 1 << 14);
        assert!(matches!(cache.get(&key(0)).unwrap().content, Content::Present(_)));
    }

    #[test]
    fn a_scan_of_cold_users_evicts_few_who_are_asked_for_again() {
        let cache = UserCache::new(1 << 20, 1 << 14, TTLS, &CacheMetrics::default());
        let ask = |n: usize| {
            let is_hit = cache.get(&key(n)).is_some();
            if !is_hit {
                cache.put(key(n), present(test_user(key(n).sub.as_str())));
            }
            is_hit
        };
        let hot = 0..800;
        for _ in 0..10 {
            hot.clone().for_each(|n| _ = ask(n));
        }
        let room = cache.present.len() * (1 << 20) / usize::try_from(cache.present.weight()).unwrap();
        let mut hits = 0;
        // Ten times as many as there is room for, each once, and after each of them one who is asked for again.
        for n in 0..10 * room {
            ask(1000 + n);
            hits += usize::from(ask(n % hot.len()));
        }
        assert!(room > 1000 && hits * 10 >= room * 95, "{hits} hits of {}", 10 * room);
    }

    #[test]
    fn the_later_of_a_user_and_an_absence_counts_and_the_other_is_forgotten() {
        let cache = UserCache::new(1 << 20, 1 << 20, TTLS, &CacheMetrics::default());
        cache.put(key(0), present(test_user("user-0")));
        cache.put(key(0), absent());
        assert!(matches!(cache.get(&key(0)).unwrap().content, Content::Absent(_)));
        cache.absent.remove(&key(0));
        assert!(cache.get(&key(0)).is_none(), "a deleted user does not come back when its absence goes");
        cache.put(key(0), absent());
        cache.put(key(0), present(test_user("user-0")));
        assert!(matches!(cache.get(&key(0)).unwrap().content, Content::Present(_)));
        cache.present.remove(&key(0));
        assert!(cache.get(&key(0)).is_none());
    }

    #[test]
    fn a_failure_is_noted_on_a_user_and_ends_with_the_next_fetch() {
        let cache = UserCache::new(1 << 20, 1 << 20, TTLS, &CacheMetrics::default());
        cache.note_failure(&key(0), StaleReason::UpstreamThrottled);
        assert!(cache.get(&key(0)).is_none());
        let fetched = present(test_user("user-0"));
        cache.put(key(0), fetched.clone());
        cache.note_failure(&key(0), StaleReason::UpstreamThrottled);
        let noted = cache.get(&key(0)).unwrap();
        assert_eq!((noted.failed.unwrap().1, noted.began), (StaleReason::UpstreamThrottled, fetched.began));
        cache.put(key(0), fetched);
        assert!(cache.get(&key(0)).unwrap().failed.is_none());
    }

    #[test]
    fn the_same_sub_in_two_pools_is_two_users() {
        let cache = UserCache::new(1 << 20, 1 << 20, TTLS, &CacheMetrics::default());
        cache.put(key(0), present(test_user("user-0")));
        assert!(cache.get(&Key { pool: "eu-west-1_B".parse().unwrap(), ..key(0) }).is_none());
    }

    pub(super) fn large_user(sub: &str, attributes: usize, length: usize) -> User {
        let attribute = |a| (format!("custom:{a}").parse().unwrap(), "v".repeat(length).into());
        let attributes = (0..attributes).map(attribute).collect::<BTreeMap<_, _>>().into();
        User { attributes, ..test_user(sub) }
    }

    pub(super) fn key(n: usize) -> Key {
        let sub = format!("user-{n}").parse().unwrap();
        Key { pool: "eu-west-1_A".parse().unwrap(), sub, kind: EntryKind::Profile }
    }

    pub(super) fn present(user: User) -> CacheEntry {
        let content = Content::Present(Arc::new(user));
        CacheEntry {
            content,
            began: TimePoint::now(),
            origin: crate::freshness::Origin::Cognito,
            failed: None,
            expired: false,
            ttl_jitter: 100,
        }
    }

    fn absent() -> CacheEntry {
        CacheEntry {
            content: Content::Absent(LookupMethod::BySub),
            began: TimePoint::now(),
            origin: crate::freshness::Origin::Cognito,
            failed: None,
            expired: false,
            ttl_jitter: 100,
        }
    }
}
