//! The copies, and which of them may be used. Pure.

use std::{collections::HashMap, sync::Arc, time::Duration};

use prost_types::Timestamp;
use tokio::time::Instant;

use crate::{GetUserResponse, UserChange};

/// The copies of a mirror.
#[derive(Debug)]
pub(super) struct Copies {
    ttl: Duration,
    max_users: usize,
    users: HashMap<String, Kept>,
    /// The last change of each user that was not read again since.
    changed: HashMap<String, Changed>,
    /// The time of the last change among users that were removed from `changed`.
    changed_before: Option<Timestamp>,
    /// Counts changes, so that a read that began before a change of its user is not kept.
    version: u64,
    /// Counts resets: a read that began before one is not kept.
    generation: u64,
    /// When the last message arrived; none before the first checkpoint.
    last_message: Option<Instant>,
    is_healthy: bool,
}

#[derive(Debug)]
struct Kept {
    user: Arc<GetUserResponse>,
    read_at: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Changed {
    /// When the service heard of it.
    seen_at: Timestamp,
    version: u64,
}

/// A read that has begun.
#[derive(Debug)]
pub(super) struct Reading {
    /// The answer must include the changes up to this time.
    pub(super) not_older_than: Option<Timestamp>,
    version: u64,
    generation: u64,
}

impl Copies {
    pub(super) fn new(ttl: Duration, max_users: usize) -> Self {
        Self {
            ttl,
            max_users,
            users: HashMap::new(),
            changed: HashMap::new(),
            changed_before: None,
            version: 0,
            generation: 0,
            last_message: None,
            is_healthy: false,
        }
    }

    /// Returns a copy that may be used.
    pub(super) fn get(&self, sub: &str, now: Instant) -> Option<Arc<GetUserResponse>> {
        let copy = self.users.get(sub)?;
        let hears =
            self.is_healthy && self.last_message.is_some_and(|last| now.duration_since(last) <= SILENCE);
        (hears || now.duration_since(copy.read_at) <= self.ttl).then(|| Arc::clone(&copy.user))
    }

    pub(super) fn begin(&self, sub: &str) -> Reading {
        let changed = self.changed.get(sub).map(|changed| changed.seen_at);
        let Self { version, generation, .. } = *self;
        Reading { not_older_than: changed.or(self.changed_before), version, generation }
    }

    /// Keeps what was read, if the stream has begun and the user did not change since the read did.
    pub(super) fn keep(&mut self, sub: &str, reading: &Reading, user: &Arc<GetUserResponse>, now: Instant) {
        let has_changed = self.changed.get(sub).is_some_and(|changed| changed.version > reading.version);
        if self.last_message.is_none() || has_changed || self.generation != reading.generation {
            return;
        }
        if self.users.len() >= self.max_users {
            self.users.clear();
        }
        self.changed.remove(sub);
        self.users.insert(sub.to_owned(), Kept { user: Arc::clone(user), read_at: now });
    }

    /// Drops the copy of a user that changed.
    pub(super) fn drop_user(&mut self, change: &UserChange, now: Instant) {
        self.version += 1;
        self.last_message = Some(now);
        self.users.remove(&change.sub);
        if let Some(seen_at) = change.seen_at {
            if self.changed.len() >= self.max_users {
                self.changed.clear();
                self.changed_before = Some(seen_at);
                self.generation += 1;
            }
            self.changed.insert(change.sub.clone(), Changed { seen_at, version: self.version });
        }
    }

    /// Records a checkpoint. No copy is kept before the first one.
    pub(super) fn checkpoint(&mut self, is_healthy: bool, now: Instant) {
        if self.last_message.is_none() {
            self.generation += 1;
        }
        self.last_message = Some(now);
        self.is_healthy = is_healthy;
    }

    /// Drops all copies, and keeps none until the next checkpoint.
    pub(super) fn forget(&mut self) {
        self.generation += 1;
        self.users.clear();
        self.last_message = None;
        self.is_healthy = false;
    }
}

// Three intervals of checkpoints.
const SILENCE: Duration = Duration::from_secs(90);

#[cfg(test)]
mod tests {
    use super::*;

    fn change(sub: &str, seconds: i64) -> UserChange {
        let seen_at = Some(Timestamp { seconds, nanos: 0 });
        UserChange { sub: sub.to_owned(), seen_at, ..UserChange::default() }
    }

    fn read(copies: &mut Copies, sub: &str, now: Instant) {
        let reading = copies.begin(sub);
        copies.keep(sub, &reading, &Arc::default(), now);
    }

    #[test]
    fn a_copy_is_used_while_changes_are_heard_of_and_then_for_a_ttl() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut copies = Copies::new(Duration::from_secs(60), 10);
        read(&mut copies, "ada", start);
        assert!(copies.get("ada", start).is_none(), "nothing is kept before the first checkpoint");
        copies.checkpoint(true, start);
        read(&mut copies, "ada", start);
        copies.checkpoint(true, at(1_000));
        let has = |copies: &Copies, seconds| copies.get("ada", at(seconds)).is_some();
        assert_eq!([1_000, 1_090, 1_091].map(|n| has(&copies, n)), [true, true, false], "silence");
        copies.checkpoint(false, at(1_100));
        read(&mut copies, "ada", at(1_100));
        assert_eq!([1_160, 1_161].map(|n| has(&copies, n)), [true, false], "an unhealthy source");
        copies.checkpoint(true, at(1_200));
        assert!(has(&copies, 1_200));
        copies.forget();
        assert!(!has(&copies, 1_200));
    }

    #[test]
    fn a_change_drops_the_copy_and_what_was_being_read() {
        let now = Instant::now();
        let mut copies = Copies::new(Duration::from_secs(60), 10);
        copies.checkpoint(true, now);
        read(&mut copies, "ada", now);
        let reading = copies.begin("ada");
        copies.drop_user(&change("ada", 7), now);
        assert!(copies.get("ada", now).is_none());
        copies.keep("ada", &reading, &Arc::default(), now);
        assert!(copies.get("ada", now).is_none(), "it may have been read before the change");
        let other = copies.begin("bob");
        copies.drop_user(&change("cyd", 7), now);
        copies.keep("bob", &other, &Arc::default(), now);
        assert!(copies.get("bob", now).is_some(), "changes of others are no reason");
        assert_eq!(copies.begin("ada").not_older_than, Some(Timestamp { seconds: 7, nanos: 0 }));
        assert_eq!(copies.begin("bob").not_older_than, None);
        read(&mut copies, "ada", now);
        assert!(copies.get("ada", now).is_some());
        assert_eq!(copies.begin("ada").not_older_than, None);
        let reading = copies.begin("bob");
        copies.forget();
        copies.checkpoint(true, now);
        copies.keep("bob", &reading, &Arc::default(), now);
        assert!(copies.get("bob", now).is_none(), "it may have changed in the gap");
    }

    #[test]
    fn the_copies_are_bounded() {
        let now = Instant::now();
        let mut copies = Copies::new(Duration::from_secs(60), 10);
        copies.checkpoint(true, now);
        for n in 0..100 {
            read(&mut copies, &format!("user-{n}"), now);
            copies.drop_user(&change(&format!("other-{n}"), n), now);
            assert!(copies.users.len() <= 10 && copies.changed.len() <= 10);
        }
        let seconds = |sub: &str| copies.begin(sub).not_older_than.map(|time| time.seconds);
        assert_eq!(seconds("other-99"), Some(99));
        assert!(seconds("other-0") >= Some(10), "one that was forgotten is read again from a later time");
    }
}
