//! When users were erased, so that a question from before it has nothing held after it.

use std::{
    array,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
};

use super::{fence::Fence, store::Key};

/// How many erasures have begun and ended, counted by groups of users: nobody's name is kept for it.
#[derive(Debug)]
pub(super) struct Erasures {
    groups: [Counts; GROUPS],
}

#[derive(Debug, Default)]
struct Counts {
    begun: AtomicUsize,
    ended: AtomicUsize,
}

/// How many erasures in a user's group had ended when a question about the user began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Era(usize);

/// An erasure under way; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Erasing<'a>(&'a Counts);

impl Erasures {
    pub(super) fn new() -> Self {
        Self { groups: array::from_fn(|_| Counts::default()) }
    }

    /// Returns the era of a question that begins now.
    pub(super) fn era(&self, user: &Key) -> Era {
        Era(self.of(user).map_or(0, |counts| counts.ended.load(SeqCst)))
    }

    /// Begins an erasure; to be called before the fetches under way are fenced off.
    pub(super) fn begin(&self, user: &Key) -> Option<Erasing<'_>> {
        let counts = self.of(user)?;
        counts.begun.fetch_add(1, SeqCst);
        Some(Erasing(counts))
    }

    /// Makes the fence of a fetch for a question of that era: closed, if an erasure that may have been of the user was
    /// under way when the question began, or has begun since. To be called where fetches cannot be fenced off meanwhile:
    /// then those that are not closed here are closed there.
    pub(super) fn fence(&self, user: &Key, era: Era) -> Fence {
        let fence = Fence::default();
        if self.of(user).is_some_and(|counts| counts.begun.load(SeqCst) != era.0) {
            fence.close();
        }
        fence
    }

    fn of(&self, user: &Key) -> Option<&Counts> {
        // Of all its topics. Who chooses a `sub` of somebody else's group gains nothing: only administrators erase.
        let end = user.sub.as_str().bytes().rev().take(GROUP_BYTES);
        let hash = end.fold(0, |hash: usize, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
        self.groups.get(hash % GROUPS)
    }
}

impl Drop for Erasing<'_> {
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
    use crate::users::Topic;

    #[test]
    fn only_a_question_that_no_erasure_touches_may_have_something_held() {
        let (erasures, ada) = (Erasures::new(), key("ada"));
        let is_open = |era| {
            let mut passed = false;
            erasures.fence(&ada, era).pass(|| passed = true);
            passed
        };
        let before = erasures.era(&ada);
        assert!(is_open(before), "nobody was erased");
        let erasing = erasures.begin(&ada);
        let during = erasures.era(&ada);
        assert!(!is_open(before) && !is_open(during));
        let another = erasures.begin(&ada);
        drop(erasing);
        let between = erasures.era(&ada);
        assert!(!is_open(between), "the other is under way");
        drop(another);
        assert!(!is_open(before) && !is_open(during) && !is_open(between));
        assert!(is_open(erasures.era(&ada)), "whoever asks after it");
    }

    #[test]
    fn an_erasure_is_of_all_topics_and_of_few_others() {
        let erasures = Erasures::new();
        let groups = key("ada").to(Topic::Groups);
        let (before, others) = (erasures.era(&groups), (0..100).map(|n| key(&format!("user-{n}"))));
        drop(erasures.begin(&key("ada")));
        let is_closed = |key: &Key| {
            let mut closed = true;
            erasures.fence(key, before).pass(|| closed = false);
            closed
        };
        assert!(is_closed(&groups));
        assert!(others.filter(is_closed).count() < 10);
    }

    fn key(sub: &str) -> Key {
        Key { pool: "eu-west-1_A".parse().unwrap(), sub: sub.parse().unwrap(), topic: Topic::User }
    }
}
