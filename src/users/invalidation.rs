//! The one door through which what the service knows of a user is invalidated.

use std::sync::Arc;

use super::{
    Users,
    cache::{EntryKind, Key},
};
use crate::{pool::PoolId, user::Sub};

/// What to do with everything the service knows of one user.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Invalidation {
    /// Remove it: the user was erased.
    Erase,
    /// Make it stale: the next read fetches. Until Cognito answers, the old entry is usable.
    Expire,
}

/// What an invalidation found.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Invalidated {
    /// Whether the user, or its groups, were cached.
    pub entry: bool,
    /// Whether an absence was cached.
    pub absence: bool,
    /// Fetches in flight, of the user and of its groups, whose results will not be cached.
    pub fetches: usize,
}

impl Users {
    /// Invalidates one user. The result of a fetch in flight is not cached and answers only the callers that
    /// wait for it; a request that arrived before this call caches nothing either. Takes microseconds.
    pub fn invalidate(&self, pool: &PoolId, sub: &Sub, invalidation: Invalidation) -> Invalidated {
        let user = Key { pool: pool.clone(), sub: sub.clone(), kind: EntryKind::Profile };
        // First of all: a result cached before it is found below, and a later one is never cached.
        let _invalidating = self.0.epochs.begin(pool, sub);
        let detached =
            EntryKind::ALL.into_iter().filter(|kind| self.0.single_flight.detach(&user.with_kind(*kind)));
        let fetches = detached.count();
        let (entry, absence) = match invalidation {
            Invalidation::Erase => self.erase(&user),
            Invalidation::Expire => (self.0.cache.expire(&user), false),
        };
        Invalidated { entry, absence, fetches }
    }

    fn erase(&self, user: &Key) -> (bool, bool) {
        if let Ok(cognito) = self.cognito(&user.pool) {
            self.0.single_flight.spawn(Arc::clone(cognito.limiter()).forget(user.clone()));
        }
        self.0.cache.remove(user)
    }
}
