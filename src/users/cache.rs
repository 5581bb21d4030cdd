//! The in-memory user cache, by pool, `sub` and kind. `entry` decides how long an entry may be
//! served.

use std::{mem::size_of, time::Duration};

use super::entry::{CacheEntry, Content, Ttls};
use crate::{
    cache::{self, Cache},
    clock::BootTime,
    freshness::StaleReason,
    policy::Subject,
    pool::PoolId,
    shared_cache::ServerTime,
    telemetry::metrics::{
        Metrics,
        cache::{CacheMetrics, Store},
    },
    user::{Sub, User},
};

/// The key of an entry. It has the whole `sub`, because aliases change their owner and hashes
/// collide.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Key {
    pub(super) pool: PoolId,
    pub(super) sub: Sub,
    pub(super) kind: EntryKind,
}

/// The kinds of entry, each fetched and cached separately.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum EntryKind {
    /// The groups the user is in.
    Groups,
    /// The user's attributes and status.
    Profile,
}

impl Key {
    /// Returns the key of a user's attributes and status.
    pub(super) fn of(subject: &Subject) -> Self {
        Self { pool: subject.pool.id.clone(), sub: subject.sub.clone(), kind: EntryKind::Profile }
    }

    /// Returns the key of another kind of entry of the same user.
    pub(super) fn with_kind(&self, kind: EntryKind) -> Self {
        Self { kind, ..self.clone() }
    }
}

impl EntryKind {
    pub(super) const ALL: [Self; 2] = [Self::Profile, Self::Groups];
}

/// The user cache, with a negative cache of its own size, so that requests for random `sub`s evict
/// no user.
#[derive(Debug)]
pub(super) struct UserCache {
    present: Cache<Key, CacheEntry>,
    absent: Cache<Key, CacheEntry>,
}

impl UserCache {
    /// Makes an empty cache of at most `max_bytes` of users and `max_absent_bytes` of negative
    /// entries.
    pub(super) fn new(max_bytes: u64, max_absent_bytes: u64, ttls: Ttls, metrics: &CacheMetrics) -> Self {
        let cache = |max_bytes, ttl, of| {
            let evictions = metrics.evictions.get(of).clone();
            Cache::new(max_bytes, heap_bytes, move |entry| time_left(entry, ttl), evictions)
        };
        Self {
            present: cache(max_bytes, ttls.usable, USERS),
            absent: cache(max_absent_bytes, ttls.absent, ABSENCES),
        }
    }

    /// Sets the gauges of `metrics` at every scrape.
    pub(super) fn register_metrics(&self, metrics: &Metrics) {
        for (of, cache) in [(USERS, self.present.clone()), (ABSENCES, self.absent.clone())] {
            let CacheMetrics { entries, bytes, .. } = &metrics.cache;
            let (entries, bytes) = (entries.get(of).clone(), bytes.get(of).clone());
            metrics.scrape_callbacks.add(move || {
                let size = cache.size();
                entries.set(size.entries);
                bytes.set(size.bytes);
            });
        }
    }

    /// Returns the user's entry or negative entry, whatever its age.
    pub(super) fn get(&self, key: &Key) -> Option<CacheEntry> {
        self.present.get(key).or_else(|| self.absent.get(key))
    }

    /// Notes on the user's entry, if any, that a fetch failed now.
    pub(super) fn note_failure(&self, key: &Key, reason: StaleReason) {
        let now = BootTime::now();
        self.present.update(key, |entry| entry.failed(now, reason));
    }

    /// Removes everything about a user. Returns whether there was a profile or groups, and whether
    /// there was a negative entry.
    pub(super) fn remove(&self, user: &Key) -> (bool, bool) {
        let present = EntryKind::ALL.map(|kind| self.present.remove(&user.with_kind(kind)));
        (present.contains(&true), self.absent.remove(user))
    }

    /// Notes that the shared cache confirmed, at `checked`, the entry of the fetch that began then.
    pub(super) fn confirm(&self, key: &Key, began: BootTime, checked: BootTime) {
        let confirm = |entry: CacheEntry| match entry.began.boot == began {
            true => CacheEntry { checked: entry.checked.max(checked), ..entry },
            false => entry,
        };
        self.present.update(key, confirm);
        self.absent.update(key, confirm);
    }

    /// Makes the entries of a user stale and removes a negative one. Returns whether there was any.
    #[cfg(test)]
    pub(super) fn expire(&self, user: &Key) -> bool {
        self.expire_older(user, Duration::ZERO)
    }

    /// Makes the entries of a user stale that were fetched this long ago or earlier, and removes such
    /// a negative one. Returns whether there was any.
    pub(super) fn expire_older(&self, user: &Key, age: Duration) -> bool {
        let now = BootTime::now();
        let is_older = |entry: &CacheEntry| now - entry.began.boot >= age;
        let expired = EntryKind::ALL.map(|kind| {
            let mut is_expired = false;
            self.present.update(&user.with_kind(kind), |entry| {
                is_expired = is_older(&entry);
                if is_expired { entry.expired() } else { entry }
            });
            is_expired
        });
        let is_absent = self.absent.get(user).is_some_and(|entry| is_older(&entry));
        expired.contains(&true) | (is_absent && self.absent.remove(user))
    }

    /// Makes the entries of a user stale whose fetch began until `since`, by the clock of the shared cache.
    pub(super) fn expire_until(&self, user: &Key, since: ServerTime) {
        for kind in EntryKind::ALL {
            let expire = |entry: CacheEntry| if entry.since <= since { entry.expired() } else { entry };
            self.present.update(&user.with_kind(kind), expire);
        }
    }

    /// Frees the entries past all of their TTLs. Too slow for a serving thread.
    pub(super) fn maintain(&self) {
        self.present.maintain();
        self.absent.maintain();
    }

    /// Returns the memory of an entry, in bytes.
    pub(super) fn weight(key: &Key, entry: &CacheEntry) -> u64 {
        u64::try_from(Cache::<Key, CacheEntry>::bytes_of(heap_bytes(key, entry))).unwrap_or(u64::MAX)
    }

    #[cfg(test)]
    pub(super) fn entries_after_maintenance(&self) -> u64 {
        self.present.applied_entries()
    }

    #[cfg(test)]
    pub(super) fn absent_bytes(&self) -> i64 {
        self.absent.size().bytes
    }

    /// Stores what a fetch returned. "Not found" also removes the user's entries, or a deleted user
    /// would reappear when the negative entry expires.
    pub(super) fn put(&self, key: Key, entry: CacheEntry) {
        match entry.content {
            Content::Absent(_) => {
                self.remove(&key);
                self.absent.insert(key, entry);
            }
            Content::Groups(..) => self.present.insert(key, entry),
            Content::Present(_) => {
                self.absent.remove(&key);
                self.present.insert(key, entry);
            }
        }
    }
}

/// Returns for how long an entry may still be served with the most jitter.
fn time_left(entry: &CacheEntry, ttl: Duration) -> Duration {
    (ttl * 11 / 10).saturating_sub(entry.began.boot.elapsed())
}

fn heap_bytes(key: &Key, entry: &CacheEntry) -> usize {
    let content = match &entry.content {
        Content::Absent(_) => 0,
        Content::Groups(groups, _) => groups.heap_bytes(),
        Content::Present(user) => user_bytes(user),
    };
    // moka keeps the key of the first insert beside that of the last, and each has a `sub` of its own.
    let key =
        cache::shared_allocation(size_of::<Key>()) + 2 * cache::shared_allocation(key.sub.as_str().len());
    key + content
}

fn user_bytes(user: &User) -> usize {
    // The entry shares the `sub` with its key.
    cache::shared_allocation(size_of::<User>())
        + user.username.heap_bytes(&user.sub)
        + cache::allocation(user.attributes.byte_len())
}

const ABSENCES: Store = Store::Absences;
const USERS: Store = Store::Users;

#[cfg(test)]
mod tests;
