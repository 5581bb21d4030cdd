//! The marks of the revocations: a map whose oldest marks are found first. Pure.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use super::RevokedTokens;
use crate::pool::PoolId;

/// The tokens that a mark is about.
pub(super) type MarkKey = (PoolId, RevokedTokens);

/// The time of the latest revocation of each key, since 1970. All marks are kept equally long, so
/// the oldest one ends next.
#[derive(Debug)]
pub(super) struct Marks {
    times: HashMap<MarkKey, Duration>,
    oldest: BTreeSet<(Duration, MarkKey)>,
    max_count: usize,
}

/// A mark after [`Marks::set`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Latest {
    /// The time of the latest revocation.
    pub(super) time: Duration,
    /// Whether the mark is new, or later than it was.
    pub(super) is_moved: bool,
}

impl Marks {
    /// Makes an empty map of at most `max_bytes`.
    pub(super) fn new(max_bytes: u64) -> Self {
        let max_count = usize::try_from(max_bytes / MARK_BYTES).unwrap_or(usize::MAX);
        Self { times: HashMap::new(), oldest: BTreeSet::new(), max_count }
    }

    /// Returns the time of a mark.
    pub(super) fn get(&self, key: &MarkKey) -> Option<Duration> {
        self.times.get(key).copied()
    }

    /// Sets a mark, unless there is a later one. The map may exceed its bound until
    /// [`drop_over_bound`](Self::drop_over_bound).
    pub(super) fn set(&mut self, key: MarkKey, time: Duration) -> Latest {
        match self.get(&key) {
            Some(latest) if latest >= time => return Latest { time: latest, is_moved: false },
            Some(earlier) => drop(self.oldest.remove(&(earlier, key.clone()))),
            None => {}
        }
        self.oldest.insert((time, key.clone()));
        self.times.insert(key, time);
        Latest { time, is_moved: true }
    }

    /// Removes the marks up to this time, if there is one, and frees their memory.
    pub(super) fn remove_until(&mut self, time: Option<Duration>) {
        self.remove_oldest_while(|_, oldest| time.is_some_and(|time| oldest <= time));
        if self.times.capacity() > SPARE + 4 * self.times.len() {
            self.times.shrink_to_fit();
        }
    }

    /// Removes the oldest marks until the bound holds, and returns how many.
    pub(super) fn drop_over_bound(&mut self) -> usize {
        self.remove_oldest_while(|marks, _| marks.count() > marks.max_count)
    }

    /// Returns the bound on the number of marks.
    pub(super) fn max_count(&self) -> usize {
        self.max_count
    }

    /// Returns the number of marks.
    pub(super) fn count(&self) -> usize {
        self.times.len()
    }

    /// Returns all, the oldest first.
    pub(super) fn all(&self) -> impl Iterator<Item = (&MarkKey, Duration)> {
        self.oldest.iter().map(|(time, key)| (key, *time))
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.times.capacity()
    }

    fn remove_oldest_while(&mut self, is_removed: impl Fn(&Self, Duration) -> bool) -> usize {
        let before = self.count();
        while self.oldest.first().is_some_and(|(time, _)| is_removed(self, *time)) {
            let Some((_, key)) = self.oldest.pop_first() else { break };
            self.times.remove(&key);
        }
        before - self.count()
    }
}

// Twice the key and the time, in a hash table after it has grown and in a B-tree that is half full,
// and a `sub` of the usual 36 characters. It is the same for all marks: otherwise it would depend on
// their order which of them fit.
const MARK_BYTES: u64 = 320;
// So much room is kept, however few marks there are.
const SPARE: usize = 1024;
