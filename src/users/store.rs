//! Snapshots by user, bounded in bytes. How old one may be is `snapshot`'s business.

use std::{mem::size_of, time::Duration};

use moka::{
    notification::RemovalCause,
    ops::compute::{CompResult, Op},
    sync::Cache,
};
use tokio::time::Instant;

use super::snapshot::{Content, Lifetimes, Snapshot};
use crate::{
    freshness::StaleReason,
    pool::PoolId,
    telemetry::metrics::{
        self, Metrics,
        cache::{OfStore, Usage},
    },
    user::{Groups, Sub, User},
};

/// Names one user, and what of it: never an alias, never a hash.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Key {
    pub(super) pool: PoolId,
    pub(super) sub: Sub,
    pub(super) topic: Topic,
}

/// What is fetched, and held, on its own.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Topic {
    /// The groups a user is in.
    Groups,
    /// The user.
    User,
}

impl Key {
    /// Returns the key of another topic about the same user.
    pub(super) fn to(&self, topic: Topic) -> Self {
        Self { topic, ..self.clone() }
    }
}

impl Topic {
    /// Every one of them.
    pub(super) const ALL: [Self; 2] = [Self::User, Self::Groups];
}

/// Users and absences, each in a store of its own, so that questions for random subs never evict a user.
#[derive(Debug)]
pub(super) struct Store {
    present: Cache<Key, Snapshot>,
    absent: Cache<Key, Snapshot>,
}

impl Store {
    /// Makes an empty store of at most `max_bytes` of users and `max_absent_bytes` of absences.
    pub(super) fn new(max_bytes: u64, max_absent_bytes: u64, lifetimes: Lifetimes, usage: &Usage) -> Self {
        Self {
            present: bounded(max_bytes, lifetimes.usable, usage, USERS),
            absent: bounded(max_absent_bytes, lifetimes.absent, usage, ABSENCES),
        }
    }

    /// Shows how much is held, whenever the metrics are written.
    pub(super) fn show(&self, metrics: &Metrics) {
        for (of, cache) in [(USERS, self.present.clone()), (ABSENCES, self.absent.clone())] {
            let Usage { entries, bytes, .. } = &metrics.cache;
            let (entries, bytes) = (entries.get_or_create_owned(&of), bytes.get_or_create_owned(&of));
            metrics.readings.add(move || {
                cache.run_pending_tasks();
                entries.set(i64::try_from(cache.entry_count()).unwrap_or(i64::MAX));
                bytes.set(i64::try_from(cache.weighted_size()).unwrap_or(i64::MAX));
            });
        }
    }

    /// Returns the latest that is held of a user, whatever its age.
    pub(super) fn latest(&self, key: &Key) -> Option<Snapshot> {
        self.present.get(key).or_else(|| self.absent.get(key))
    }

    /// Notes on what is held of a user, if anything is, that Cognito could not answer just now.
    pub(super) fn note_failure(&self, key: &Key, reason: StaleReason) {
        let now = Instant::now();
        // In one step: what a fetch brings at the same moment must not be replaced by what was held before it.
        self.present.entry_by_ref(key).and_compute_with(|held| match held {
            Some(held) => Op::Put(held.into_value().failed(now, reason)),
            None => Op::Nop,
        });
    }

    /// Forgets everything about a user, and returns what was held: of the user or its groups, and an absence.
    pub(super) fn forget(&self, user: &Key) -> (bool, bool) {
        let present = Topic::ALL.map(|topic| self.present.remove(&user.to(topic)).is_some());
        (present.contains(&true), self.absent.remove(user).is_some())
    }

    /// Makes what is held of a user count as past its freshness, and forgets an absence; tells whether anything was held.
    pub(super) fn expire(&self, user: &Key) -> bool {
        let expired = Topic::ALL.map(|topic| {
            let entry = self.present.entry(user.to(topic)).and_compute_with(|held| match held {
                Some(held) => Op::Put(held.into_value().expired()),
                None => Op::Nop,
            });
            matches!(entry, CompResult::ReplacedWith(_))
        });
        expired.contains(&true) | self.absent.remove(user).is_some()
    }

    /// Returns what a snapshot takes, in bytes.
    pub(super) fn weight(key: &Key, held: &Snapshot) -> u32 {
        weigh(key, held)
    }

    #[cfg(test)]
    pub(super) fn absent_bytes(&self) -> u64 {
        self.absent.run_pending_tasks();
        self.absent.weighted_size()
    }

    /// Holds what a fetch brought. An absence leaves nothing else of that user: were a deleted user's entry left, it would
    /// be served again once the absence is gone. One user's fetches follow one another, so no two callers put the same
    /// key.
    pub(super) fn put(&self, key: Key, snapshot: Snapshot) {
        match snapshot.content {
            Content::Absent(_) => {
                self.forget(&key);
                self.absent.insert(key, snapshot);
            }
            Content::Groups(_) => self.present.insert(key, snapshot),
            Content::Present(_) => {
                self.absent.invalidate(&key);
                self.present.insert(key, snapshot);
            }
        }
    }
}

/// The time to live only makes room early: what is past it is not served anyway.
fn bounded(max_bytes: u64, lifetime: Duration, usage: &Usage, of: OfStore) -> Cache<Key, Snapshot> {
    let longest = lifetime * 11 / 10;
    let evictions = usage.evictions.get_or_create_owned(&of);
    let note = move |_, _, cause| {
        if cause == RemovalCause::Size {
            evictions.inc();
        }
    };
    let builder = Cache::builder().max_capacity(max_bytes).weigher(weigh).time_to_live(longest);
    builder.eviction_listener(note).build()
}

fn weigh(key: &Key, snapshot: &Snapshot) -> u32 {
    let content = match &snapshot.content {
        Content::Absent(_) => 0,
        Content::Groups(groups) => weigh_groups(groups),
        Content::Present(user) => weigh_user(user),
    };
    u32::try_from(ENTRY_BYTES + key.sub.as_str().len() + content).unwrap_or(u32::MAX)
}

fn weigh_groups(groups: &Groups) -> usize {
    let names = groups.names().map(|name| size_of::<Box<str>>() + ALLOCATION_BYTES + name.len());
    ALLOCATION_BYTES + names.sum::<usize>()
}

fn weigh_user(user: &User) -> usize {
    let allocations = [size_of::<User>(), user.username.as_str().len(), user.attributes.size()];
    allocations.iter().map(|bytes| ALLOCATION_BYTES + bytes).sum()
}

const ABSENCES: OfStore = OfStore { store: metrics::cache::Store::Absences };
const USERS: OfStore = OfStore { store: metrics::cache::Store::Users };
// moka's own cost of an entry with its key, from an earlier measurement with a million users.
const ENTRY_BYTES: usize = 330;
// An allocator's header and rounding.
const ALLOCATION_BYTES: usize = 16;

#[cfg(test)]
mod memory;

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use super::{
        super::snapshot::{Asked, tests::LIFETIMES},
        *,
    };
    use crate::{freshness::Moment, users::test_user};

    #[test]
    fn the_bound_holds_in_bytes() {
        let store = Store::new(1 << 20, 1 << 20, LIFETIMES, &Usage::default());
        for n in 0..200 {
            store.put(key(n), present(large_user(&format!("user-{n}"), 70, 2000)));
        }
        store.present.run_pending_tasks();
        assert!(store.present.weighted_size() <= 1 << 20);
        assert!((1..=7).contains(&store.present.entry_count()), "{}", store.present.entry_count());
    }

    #[test]
    fn groups_are_weighed() {
        let key = key(0).to(Topic::Groups);
        let weight = |names: Vec<String>| {
            let content = Content::Groups(names.try_into().unwrap());
            Store::weight(&key, &Snapshot { content, ..absent() })
        };
        let names = |length: usize| (0..100).map(|_| "g".repeat(length)).collect::<Vec<_>>();
        assert_eq!(weight(names(128)) - weight(names(8)), 100 * 120);
        assert!(weight(names(128)) >= weight(Vec::new()) + 100 * (128 + 16));
    }

    #[test]
    fn what_is_forgotten_is_counted_and_what_is_expired_is_kept() {
        let store = Store::new(1 << 20, 1 << 20, LIFETIMES, &Usage::default());
        let groups = || Snapshot { content: Content::Groups(Groups::default()), ..absent() };
        assert_eq!((store.forget(&key(0)), store.expire(&key(0))), ((false, false), false));
        store.put(key(0), present(test_user("user-0")));
        store.put(key(0).to(Topic::Groups), groups());
        assert!(store.expire(&key(0)));
        for topic in Topic::ALL {
            assert!(store.latest(&key(0).to(topic)).unwrap().expired);
        }
        assert_eq!(store.forget(&key(0)), (true, false));
        assert!(Topic::ALL.iter().all(|topic| store.latest(&key(0).to(*topic)).is_none()));
        store.put(key(0).to(Topic::Groups), groups());
        store.put(key(0), absent());
        assert!(store.latest(&key(0).to(Topic::Groups)).is_none(), "who is gone is in no group");
        assert_eq!(store.forget(&key(0)), (false, true));
        store.put(key(0), absent());
        assert!(store.expire(&key(0)) && store.latest(&key(0)).is_none());
    }

    #[test]
    fn absences_never_evict_a_user() {
        let store = Store::new(1 << 20, 1 << 14, LIFETIMES, &Usage::default());
        store.put(key(0), present(test_user("user-0")));
        for n in 1..10_000 {
            store.put(key(n), absent());
        }
        store.absent.run_pending_tasks();
        assert!(store.absent.weighted_size() <= 1 << 14);
        assert!(matches!(store.latest(&key(0)).unwrap().content, Content::Present(_)));
    }

    #[test]
    fn a_scan_of_cold_users_evicts_few_who_are_asked_for_again() {
        let store = Store::new(1 << 20, 1 << 14, LIFETIMES, &Usage::default());
        let ask = |n: usize| {
            let is_hit = store.latest(&key(n)).is_some();
            if !is_hit {
                store.put(key(n), present(test_user(key(n).sub.as_str())));
            }
            is_hit
        };
        let hot = 0..500;
        for _ in 0..10 {
            hot.clone().for_each(|n| _ = ask(n));
        }
        store.present.run_pending_tasks();
        let room =
            usize::try_from(store.present.entry_count() * (1 << 20) / store.present.weighted_size()).unwrap();
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
        let store = Store::new(1 << 20, 1 << 20, LIFETIMES, &Usage::default());
        store.put(key(0), present(test_user("user-0")));
        store.put(key(0), absent());
        assert!(matches!(store.latest(&key(0)).unwrap().content, Content::Absent(_)));
        store.absent.invalidate(&key(0));
        assert!(store.latest(&key(0)).is_none(), "a deleted user does not come back when its absence goes");
        store.put(key(0), absent());
        store.put(key(0), present(test_user("user-0")));
        assert!(matches!(store.latest(&key(0)).unwrap().content, Content::Present(_)));
        store.present.invalidate(&key(0));
        assert!(store.latest(&key(0)).is_none());
    }

    #[test]
    fn a_failure_is_noted_on_a_user_and_ends_with_the_next_fetch() {
        let store = Store::new(1 << 20, 1 << 20, LIFETIMES, &Usage::default());
        store.note_failure(&key(0), StaleReason::UpstreamThrottled);
        assert!(store.latest(&key(0)).is_none());
        let fetched = present(test_user("user-0"));
        store.put(key(0), fetched.clone());
        store.note_failure(&key(0), StaleReason::UpstreamThrottled);
        let noted = store.latest(&key(0)).unwrap();
        assert_eq!((noted.failed.unwrap().1, noted.began), (StaleReason::UpstreamThrottled, fetched.began));
        store.put(key(0), fetched);
        assert!(store.latest(&key(0)).unwrap().failed.is_none());
    }

    #[test]
    fn the_same_sub_in_two_pools_is_two_users() {
        let store = Store::new(1 << 20, 1 << 20, LIFETIMES, &Usage::default());
        store.put(key(0), present(test_user("user-0")));
        assert!(store.latest(&Key { pool: "eu-west-1_B".parse().unwrap(), ..key(0) }).is_none());
    }

    pub(super) fn large_user(sub: &str, attributes: usize, length: usize) -> User {
        let attribute = |a| (format!("custom:{a}").parse().unwrap(), "v".repeat(length).into());
        let attributes = (0..attributes).map(attribute).collect::<BTreeMap<_, _>>().into();
        User { attributes, ..test_user(sub) }
    }

    pub(super) fn key(n: usize) -> Key {
        let sub = format!("user-{n}").parse().unwrap();
        Key { pool: "eu-west-1_A".parse().unwrap(), sub, topic: Topic::User }
    }

    pub(super) fn present(user: User) -> Snapshot {
        let content = Content::Present(Arc::new(user));
        Snapshot { content, began: Moment::now(), failed: None, expired: false, pace: 100 }
    }

    fn absent() -> Snapshot {
        Snapshot {
            content: Content::Absent(Asked::BySub),
            began: Moment::now(),
            failed: None,
            expired: false,
            pace: 100,
        }
    }
}
