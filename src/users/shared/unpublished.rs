//! Marks that the store must still get.

use std::{
    collections::BTreeMap,
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use super::mark::{Mark, Marked};
use crate::pool::PoolId;

/// The latest mark of each user and family that must still be published. Each is also in the memory of
/// this process, which bounds them.
#[derive(Debug, Default)]
pub(super) struct UnpublishedMarks(Mutex<BTreeMap<(PoolId, Marked), SystemTime>>);

impl UnpublishedMarks {
    /// Adds one, unless there is a later one of the same.
    pub(super) fn add(&self, Mark { pool, of, at }: Mark) {
        let mut all = self.lock();
        let latest = all.entry((pool, of)).or_insert(at);
        *latest = at.max(*latest);
    }

    /// Removes one that was published, unless there is a later one of the same.
    pub(super) fn remove(&self, Mark { pool, of, at }: &Mark) {
        let (mut all, key) = (self.lock(), (pool.clone(), of.clone()));
        if all.get(&key).is_some_and(|latest| latest <= at) {
            all.remove(&key);
        }
    }

    /// Returns whether it has this one, or a later one of the same.
    pub(super) fn has(&self, Mark { pool, of, at }: &Mark) -> bool {
        self.lock().get(&(pool.clone(), of.clone())).is_some_and(|latest| latest >= at)
    }

    /// Keeps those that `is_needed` accepts.
    pub(super) fn retain(&self, is_needed: impl Fn(&Mark) -> bool) {
        self.lock().retain(|key, at| is_needed(&mark((key, at))));
    }

    /// Returns up to `most` of them, from a random one on: replicas that publish the same marks at the same
    /// time then begin with different ones.
    pub(super) fn some(&self, most: usize) -> Vec<Mark> {
        let all = self.lock();
        let first = fastrand::usize(..all.len().max(1));
        all.iter().skip(first).chain(all.iter().take(first)).take(most).map(mark).collect()
    }

    /// Removes and returns all.
    pub(super) fn take(&self) -> impl Iterator<Item = Mark> + use<> {
        let all = mem::take(&mut *self.lock());
        all.into_iter().map(|((pool, of), at)| Mark { pool, of, at })
    }

    /// Returns how many there are.
    pub(super) fn count(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(PoolId, Marked), SystemTime>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn mark(((pool, of), at): (&(PoolId, Marked), &SystemTime)) -> Mark {
    Mark { pool: pool.clone(), of: of.clone(), at: *at }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_latest_of_each_user_stays_until_it_is_published() {
        let unpublished = UnpublishedMarks::default();
        let of = |sub: &str, at| Mark {
            pool: "eu-west-1_A".parse().unwrap(),
            of: Marked::Groups(Some(sub.parse().unwrap())),
            at: SystemTime::UNIX_EPOCH + Duration::from_secs(at),
        };
        for mark in [of("ada", 5), of("ada", 7), of("ada", 6), of("bob", 1)] {
            unpublished.add(mark);
        }
        assert!(
            [[of("ada", 7), of("bob", 1)], [of("bob", 1), of("ada", 7)]]
                .contains(&unpublished.some(9).try_into().unwrap())
        );
        unpublished.remove(&of("ada", 6));
        assert_eq!((unpublished.count(), unpublished.some(1).len()), (2, 1));
        unpublished.retain(|mark| *mark != of("bob", 1));
        assert_eq!(unpublished.some(9), [of("ada", 7)]);
        unpublished.remove(&of("ada", 8));
        assert_eq!((unpublished.count(), unpublished.some(9)), (0, Vec::new()));
    }

    #[test]
    fn replicas_do_not_all_begin_with_the_same_marks() {
        let unpublished = UnpublishedMarks::default();
        for n in 0..100 {
            let of = Marked::Groups(Some(format!("user-{n}").parse().unwrap()));
            unpublished.add(Mark { pool: "eu-west-1_A".parse().unwrap(), of, at: SystemTime::UNIX_EPOCH });
        }
        let first = unpublished.some(1);
        assert!((0..100).any(|_| unpublished.some(1) != first));
        assert_eq!(unpublished.take().count(), 100);
        assert_eq!(unpublished.count(), 0);
    }
}
