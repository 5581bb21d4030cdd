//! Invalidates all cached data of a user. There is no other way to do so.

use std::{sync::Arc, time::Duration};

use thiserror::Error;
use tokio::task::{JoinError, spawn_blocking};

use super::{
    Users,
    cache::{EntryKind, Key},
    entry::CacheEntry,
};
use crate::{changes::Change, clock::BootTime, pool::PoolId, shared_cache::CallError, user::Sub};

/// How to invalidate the cached data of one user.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Invalidation {
    /// Remove it: the user was erased.
    Erase,
    /// Make it stale: the next read fetches. Until Cognito responds, the old entry is usable.
    Expire,
    /// Make stale what was fetched this long ago or earlier, and leave what is younger: it was fetched
    /// after the change.
    ExpireOlder(Duration),
    /// Remove it: Cognito said that the user is disabled or deleted, and this may not be cached.
    /// Otherwise an older entry would be served while Cognito cannot answer.
    Forget,
}

/// What an invalidation found.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Invalidated {
    /// Whether the user, or its groups, were cached.
    pub entry: bool,
    /// Whether a negative entry was cached.
    pub absence: bool,
    /// Fetches in flight, of the user and of its groups, whose results will not be cached.
    pub fetches: usize,
    /// The user's verified tokens that were removed.
    pub tokens: usize,
    /// Whether all replicas were told. Without a shared cache there is no way to tell others.
    pub reached_all_replicas: bool,
}

/// Why an invalidation was not completed. It may be repeated.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum InvalidationFailure {
    /// This replica's data is invalidated, but the shared cache did not confirm that of the others.
    #[error("this replica invalidated the user, but not the others for certain: {error}")]
    SharedCache {
        /// What was found on this replica.
        here: Invalidated,
        /// Why the shared cache did not confirm it.
        error: CallError,
    },
    /// A task panicked, or the runtime shuts down.
    #[error("the task of the invalidation panicked")]
    Panicked,
}

impl From<JoinError> for InvalidationFailure {
    fn from(_: JoinError) -> Self {
        Self::Panicked
    }
}

impl Invalidated {
    /// Adds what a second pass found.
    fn and(self, other: Self) -> Self {
        Self {
            entry: self.entry | other.entry,
            absence: self.absence | other.absence,
            fetches: self.fetches + other.fetches,
            tokens: self.tokens + other.tokens,
            reached_all_replicas: self.reached_all_replicas | other.reached_all_replicas,
        }
    }
}

impl Invalidation {
    /// Returns the least age of what becomes invalid.
    pub(super) fn least_age(self) -> Duration {
        match self {
            Self::ExpireOlder(least) => least,
            Self::Erase | Self::Expire | Self::Forget => Duration::ZERO,
        }
    }
}

impl Users {
    /// Invalidates one user as [`invalidate_for`](Self::invalidate_for), for a change that may be of any
    /// kind.
    pub async fn invalidate(
        &self,
        pool: &PoolId,
        sub: &Sub,
        invalidation: Invalidation,
    ) -> Result<Invalidated, InvalidationFailure> {
        self.invalidate_for(pool, sub, invalidation, invalidation.change()).await
    }

    /// Invalidates one user on all replicas, on erasure its verified tokens too, and then reports
    /// the change to its watchers. The result of a fetch in flight is not cached and answers only
    /// the callers that wait for it. A request that arrived before this call caches nothing either.
    ///
    /// Takes microseconds and two calls of the shared cache, if there is one; an erasure also waits
    /// for a scan of the verified tokens. Cancel safe: a dropped future may have done all of it, goes
    /// on in the background, and may be repeated.
    pub async fn invalidate_for(
        &self,
        pool: &PoolId,
        sub: &Sub,
        invalidation: Invalidation,
        change: Change,
    ) -> Result<Invalidated, InvalidationFailure> {
        let here = self.invalidate_here(pool, sub, invalidation).await?;
        let Some(shared) = self.0.shared.clone() else {
            self.changes().append((pool.clone(), sub.clone()), change.seen_now());
            return Ok(here);
        };
        let (users, pool, sub) = (self.clone(), pool.clone(), sub.clone());
        let everywhere = async move {
            let failed = |error| InvalidationFailure::SharedCache { here, error };
            let at = shared.invalidate(&pool, &sub, invalidation).await.map_err(failed)?;
            // What was read from the shared cache in between.
            let again = users.invalidate_entries(&pool, &sub, invalidation);
            shared.note_publication(&pool, &sub, invalidation, change);
            shared.publish(&pool, &sub, (invalidation, change), at).await.map_err(failed)?;
            Ok(Invalidated { reached_all_replicas: true, ..here.and(again) })
        };
        self.0.single_flight.run(everywhere).await?
    }

    /// Returns whether everything cached of a user was fetched less than `age` ago, so that a change
    /// of that time is in it. Returns false if nothing is cached or a fetch is in flight. With a shared
    /// cache it always returns false, because this process does not know what the others have cached.
    pub fn has_only_younger(&self, pool: &PoolId, sub: &Sub, age: Duration) -> bool {
        let user = Key { pool: pool.clone(), sub: sub.clone(), kind: EntryKind::Profile };
        let now = BootTime::now();
        let is_older = |entry: &CacheEntry| now - entry.began.boot >= age;
        let keys = EntryKind::ALL.map(|kind| user.with_kind(kind));
        let entries: Vec<_> = keys.iter().filter_map(|key| self.0.cache.get(key)).collect();
        self.0.shared.is_none()
            && !keys.iter().any(|key| self.0.single_flight.has(key))
            && !entries.is_empty()
            && !entries.iter().any(is_older)
    }

    /// Returns whether replicas share a cache, through which an invalidation reaches all of them.
    pub fn shares_invalidations(&self) -> bool {
        self.0.shared.is_some()
    }

    /// Returns whether an invalidation can reach all replicas at present; always without a shared
    /// cache, because then it reaches this process only.
    pub fn can_invalidate(&self) -> bool {
        self.0.shared.as_ref().is_none_or(|shared| shared.is_available())
    }

    /// Invalidates one user in this process.
    pub(super) async fn invalidate_here(
        &self,
        pool: &PoolId,
        sub: &Sub,
        invalidation: Invalidation,
    ) -> Result<Invalidated, JoinError> {
        let invalidated = self.invalidate_entries(pool, sub, invalidation);
        let tokens = match invalidation {
            Invalidation::Erase => self.erase_tokens(pool.clone(), sub.clone()).await?,
            Invalidation::Expire | Invalidation::ExpireOlder(_) | Invalidation::Forget => 0,
        };
        Ok(Invalidated { tokens, ..invalidated })
    }

    /// In a task of its own, so that a caller that leaves does not leave the tokens behind.
    async fn erase_tokens(&self, pool: PoolId, sub: Sub) -> Result<usize, JoinError> {
        let users = Arc::clone(&self.0);
        let erasing = async move {
            let tokens = users.tokens.remove_user(&pool, &sub).await?;
            // moka frees what is removed with its maintenance; an erased user must not wait for the next.
            spawn_blocking(move || users.maintain()).await?;
            Ok(tokens)
        };
        #[expect(clippy::disallowed_methods, reason = "joined here, if its caller stays")]
        tokio::spawn(erasing).await?
    }

    pub(super) fn invalidate_entries(
        &self,
        pool: &PoolId,
        sub: &Sub,
        invalidation: Invalidation,
    ) -> Invalidated {
        // First, so that an older result is cached before this and found below, or never cached.
        let _invalidating = self.0.epochs.begin(pool, sub);
        let user = Key { pool: pool.clone(), sub: sub.clone(), kind: EntryKind::Profile };
        let detached =
            EntryKind::ALL.into_iter().filter(|kind| self.0.single_flight.detach(&user.with_kind(*kind)));
        let fetches = detached.count();
        let (entry, absence) = match invalidation {
            Invalidation::Erase => {
                if let Ok(cognito) = self.cognito(pool) {
                    self.0.single_flight.spawn(Arc::clone(cognito.limiter()).forget(user.clone()));
                }
                self.0.cache.remove(&user)
            }
            Invalidation::Expire | Invalidation::ExpireOlder(_) => {
                (self.0.cache.expire_older(&user, invalidation.least_age()), false)
            }
            Invalidation::Forget => self.0.cache.remove(&user),
        };
        Invalidated { entry, absence, fetches, ..Invalidated::default() }
    }
}
