//! Revocations of this replica that the shared cache has not confirmed.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use crate::{
    auth::{Revocation, RevokedTokens},
    pool::PoolId,
};

/// The latest revocation of each user and family that must still be published. Each is also among the
/// revocations in force, which bounds them.
#[derive(Debug, Default)]
pub(super) struct UnpublishedRevocations(Mutex<BTreeMap<(PoolId, RevokedTokens), SystemTime>>);

impl UnpublishedRevocations {
    /// Adds one, unless there is a later one of the same tokens.
    pub(super) fn add(&self, Revocation { pool, tokens, at }: Revocation) {
        let mut all = self.lock();
        let latest = all.entry((pool, tokens)).or_insert(at);
        *latest = at.max(*latest);
    }

    /// Removes one that was published, unless there is a later one of the same tokens.
    pub(super) fn remove(&self, Revocation { pool, tokens, at }: Revocation) {
        let (mut all, key) = (self.lock(), (pool, tokens));
        if all.get(&key).is_some_and(|latest| *latest <= at) {
            all.remove(&key);
        }
    }

    /// Keeps those that `is_needed` accepts.
    pub(super) fn retain(&self, is_needed: impl Fn(&Revocation) -> bool) {
        self.lock().retain(|key, at| is_needed(&revocation((key, at))));
    }

    /// Returns up to `most` of them.
    pub(super) fn some(&self, most: usize) -> Vec<Revocation> {
        self.lock().iter().take(most).map(revocation).collect()
    }

    /// Returns how many there are.
    pub(super) fn count(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(PoolId, RevokedTokens), SystemTime>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn revocation(((pool, tokens), at): (&(PoolId, RevokedTokens), &SystemTime)) -> Revocation {
    Revocation { pool: pool.clone(), tokens: tokens.clone(), at: *at }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_latest_of_each_user_stays_until_it_is_published() {
        let unpublished = UnpublishedRevocations::default();
        let of = |sub: &str, at| Revocation {
            pool: "eu-west-1_A".parse().unwrap(),
            tokens: RevokedTokens::OfUser(sub.parse().unwrap()),
            at: SystemTime::UNIX_EPOCH + Duration::from_secs(at),
        };
        for revocation in [of("ada", 5), of("ada", 7), of("ada", 6), of("bob", 1)] {
            unpublished.add(revocation);
        }
        assert_eq!(unpublished.some(9), [of("ada", 7), of("bob", 1)]);
        unpublished.remove(of("ada", 6));
        assert_eq!((unpublished.count(), unpublished.some(1)), (2, vec![of("ada", 7)]));
        unpublished.retain(|revocation| *revocation != of("bob", 1));
        unpublished.remove(of("ada", 8));
        assert_eq!(unpublished.count(), 0);
    }
}
