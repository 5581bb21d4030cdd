//! When users were erased, so that a question from before it has nothing held after it.

use std::{
    array,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
};

use super::{fence::Fence, store::Key};

/// How many epochs have begun and ended, counted by groups of users: nobody's name is kept for it.
#[derive(Debug)]
pub(super) struct InvalidationEpochs {
    groups: [EpochCounters; GROUPS],
}

#[derive(Debug, Default)]
struct EpochCounters {
    begun: AtomicUsize,
    ended: AtomicUsize,
}

/// How many epochs in a user's group had ended when a question about the user began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Epoch(usize);

/// An erasure under way; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct InvalidationInProgress<'a>(&'a EpochCounters);

impl InvalidationEpochs {
    pub(super) fn new() -> Self {
        Self { groups: array::from_fn(|_| EpochCounters::default()) }
    }

    /// Returns the epoch of a question that begins now.
    pub(super) fn epoch(&self, user: &Key) -> Epoch {
        Epoch(self.of(user).map_or(0, |counts| counts.ended.load(SeqCst)))
    }

    /// Begins an erasure; to be called before the fetches under way are fenced off.
    pub(super) fn begin(&self, user: &Key) -> Option<InvalidationInProgress<'_>> {
        let counts = self.of(user)?;
        counts.begun.fetch_add(1, SeqCst);
        Some(InvalidationInProgress(counts))
    }

    /// Makes the fence of a fetch for a question of that epoch: closed, if an erasure that may have been of the user was
    /// under way when the question began, or has begun since. To be called where fetches cannot be fenced off meanwhile:
    /// then those that are not closed here are closed there.
    pub(super) fn fence(&self, user: &Key, epoch: Epoch) -> Fence {
        let fence = Fence::default();
        if self.of(user).is_some_and(|counts| counts.begun.load(SeqCst) != epoch.0) {
            fence.close();
        }
        fence
    }

    fn of(&self, user: &Key) -> Option<&EpochCounters> {
        // Of all its topics. Who chooses a `sub` of somebody else's group gains nothing: only administrators erase.
        let end = user.sub.as_str().bytes().rev().take(GROUP_BYTES);
        let hash = end.fold(0, |hash: usize, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
        self.groups.get(hash % GROUPS)
    }
}

impl Drop for InvalidationInProgress<'_> {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, SeqCst);
    }
}

// An erasure costs others of its group no more than that what they are fetched meanwhile is fetched again.
const GROUPS: usize = 256;
// Of a UUID they are random.
const GROUP_BYTES: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::users::EntryKind;

    #[test]
    fn only_a_question_that_no_erasure_touches_may_have_something_held() {
        let (epochs, ada) = (InvalidationEpochs::new(), key("ada"));
        let is_open = |epoch| {
            let mut passed = false;
            epochs.fence(&ada, epoch).pass(|| passed = true);
            passed
        };
        let before = epochs.epoch(&ada);
        assert!(is_open(before), "nobody was erased");
        let erasing = epochs.begin(&ada);
        let during = epochs.epoch(&ada);
        assert!(!is_open(before) && !is_open(during));
        let another = epochs.begin(&ada);
        drop(erasing);
        let between = epochs.epoch(&ada);
        assert!(!is_open(between), "the other is under way");
        drop(another);
        assert!(!is_open(before) && !is_open(during) && !is_open(between));
        assert!(is_open(epochs.epoch(&ada)), "whoever asks after it");
    }

    #[test]
    fn an_erasure_is_of_all_topics_and_of_few_others() {
        let epochs = InvalidationEpochs::new();
        let groups = key("ada").with_kind(EntryKind::Groups);
        let (before, others) = (epochs.epoch(&groups), (0..100).map(|n| key(&format!("user-{n}"))));
        drop(epochs.begin(&key("ada")));
        let is_closed = |key: &Key| {
            let mut closed = true;
            epochs.fence(key, before).pass(|| closed = false);
            closed
        };
        assert!(is_closed(&groups));
        assert!(others.filter(is_closed).count() < 10);
    }

    fn key(sub: &str) -> Key {
        Key { pool: "eu-west-1_A".parse().unwrap(), sub: sub.parse().unwrap(), kind: EntryKind::Profile }
    }
}
