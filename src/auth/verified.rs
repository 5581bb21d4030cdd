//! The cache of verified tokens, by the SHA-256 of the whole token. No token is stored.

use std::{mem::size_of, sync::Arc, time::SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use tokio::{
    sync::Mutex,
    task::{JoinError, spawn_blocking},
};
use zeroize::Zeroize as _;

use super::{
    caller::{Client, TokenIdentity, TokenUser},
    claims::Validity,
    keys::{Key, Keys},
};
use crate::{
    cache::{Cache, shared_allocation},
    epochs::{Epoch, Epochs},
    pool::PoolId,
    telemetry::metrics::{Counter, Metrics, TokenLookupResult, TokenMetrics},
    user::{Groups, Sub},
};

/// A token that was verified, and what its validity depends on.
#[derive(Debug)]
pub(super) struct VerifiedToken {
    pub(super) identity: TokenIdentity,
    pub(super) validity: Validity,
    /// The key that verified it: the token is valid only as long as its pool publishes this key.
    pub(super) key: Arc<Key>,
    pub(super) keys: Arc<Keys>,
}

impl VerifiedToken {
    fn is_valid(&self, now: SystemTime) -> bool {
        self.keys.is_current(&self.key) && self.validity.check(now).is_ok()
    }

    fn is_of(&self, pool: &PoolId, sub: &Sub) -> bool {
        self.identity.user.as_ref().is_some_and(|user| user.pool.id == *pool && user.sub == *sub)
    }
}

/// The cache of verified tokens, bounded in bytes.
#[derive(Debug)]
pub struct VerifiedTokens {
    cache: Cache<Digest, Arc<VerifiedToken>>,
    epochs: Arc<Epochs>,
    /// Allows one removal at a time, because each one scans the cache.
    removal: Arc<Mutex<()>>,
    hits: Counter,
    misses: Counter,
}

/// A token that must be verified, and can then be inserted.
pub(super) struct PendingInsert<'a> {
    tokens: &'a VerifiedTokens,
    digest: Digest,
    epoch: Epoch,
}

impl VerifiedTokens {
    /// Makes an empty cache of at most `max_bytes`.
    pub fn new(max_bytes: u64, metrics: &Metrics) -> Self {
        let time_left = |token: &Arc<VerifiedToken>| token.validity.time_left(SystemTime::now());
        let cache = Cache::new(max_bytes, heap_bytes, time_left, Counter::default());
        let TokenMetrics { lookups, entries, .. } = metrics.tokens.clone();
        let [hits, misses] =
            [TokenLookupResult::Hit, TokenLookupResult::Miss].map(|result| lookups.get(result).clone());
        let measured = cache.clone();
        metrics.scrape_callbacks.add(move || {
            entries.set(measured.size().entries);
        });
        Self { cache, epochs: Arc::default(), removal: Arc::default(), hits, misses }
    }

    /// Returns the epochs of every user, which the cache of users shares.
    pub fn epochs(&self) -> &Arc<Epochs> {
        &self.epochs
    }

    /// Looks a token up by all of its bytes, and returns what it identifies. One that is no longer
    /// valid is removed.
    pub(super) fn look_up(&self, token: &[u8]) -> Result<TokenIdentity, PendingInsert<'_>> {
        let digest = Digest::of(token);
        if let Some(verified) = self.cache.get(&digest) {
            if verified.is_valid(SystemTime::now()) {
                self.hits.inc();
                return Ok(verified.identity.clone());
            }
            self.cache.remove(&digest);
        }
        self.misses.inc();
        // The user of the token is unknown until it is verified.
        Err(PendingInsert { tokens: self, digest, epoch: self.epochs.of_all() })
    }

    /// Removes every token of one user, and returns how many. A token whose verification is in
    /// flight is not inserted. Scans the cache on a blocking thread, one removal at a time. A scan
    /// that has begun continues if the future is dropped. Fails only if the scan panics or the
    /// runtime shuts down.
    pub async fn remove_user(self: &Arc<Self>, pool: &PoolId, sub: &Sub) -> Result<usize, JoinError> {
        let removal = Arc::clone(&self.removal).lock_owned().await;
        let (tokens, pool, sub) = (Arc::clone(self), pool.clone(), sub.clone());
        let scan = move || {
            let _removal = removal;
            tokens.scan(&pool, &sub)
        };
        spawn_blocking(scan).await
    }

    fn scan(&self, pool: &PoolId, sub: &Sub) -> usize {
        let _invalidating = self.epochs.begin(pool, sub);
        let removed = self.cache.remove_where(|token| token.is_of(pool, sub));
        self.cache.maintain();
        removed
    }

    /// Frees the tokens that have expired.
    pub(super) fn maintain(&self) {
        self.cache.maintain();
    }
}

impl PendingInsert<'_> {
    /// Inserts a token, unless some user was invalidated since the lookup, and returns its
    /// identity.
    pub(super) fn insert(self, token: VerifiedToken) -> TokenIdentity {
        let Self { tokens, digest, epoch } = self;
        let identity = token.identity.clone();
        tokens.epochs.if_current(epoch, || tokens.cache.insert(digest, Arc::new(token)));
        identity
    }
}

/// The SHA-256 of a token. It reveals whether a given token was presented, so it is wiped.
#[derive(Clone, Eq, Hash, PartialEq)]
struct Digest([u8; 32]);

impl Digest {
    fn of(token: &[u8]) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, token).as_ref());
        Self(bytes)
    }
}

impl Drop for Digest {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

fn heap_bytes(_: &Digest, token: &Arc<VerifiedToken>) -> usize {
    let TokenIdentity { client, user } = &token.identity;
    let user = user.as_deref().map_or(0, |user| {
        let TokenUser { sub, username, groups, .. } = user;
        let names = shared_allocation(sub.as_str().len()) + username.heap_bytes(sub);
        shared_allocation(size_of::<TokenUser>()) + names + groups.as_ref().map_or(0, Groups::heap_bytes)
    });
    let scopes = shared_allocation(client.scopes.as_str().len());
    shared_allocation(size_of::<VerifiedToken>()) + shared_allocation(size_of::<Client>()) + scopes + user
}

#[cfg(test)]
mod tests;
