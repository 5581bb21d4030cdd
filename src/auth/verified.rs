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
    revocations::{CheckedVersion, Revocations, TokenOrigin},
};
use crate::{
    cache::{Cache, shared_allocation},
    config::RevocationSettings,
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
    pub(super) checked: CheckedVersion,
}

impl VerifiedToken {
    /// Returns whether the token has not expired, and its pool publishes its key.
    pub(super) fn is_valid(&self, now: SystemTime) -> bool {
        self.keys.is_current(&self.key) && self.validity.check(now).is_ok()
    }

    /// Returns whether the token is revoked. One of a machine never is.
    fn is_revoked(&self, revocations: &Revocations) -> bool {
        self.identity.user.as_deref().is_some_and(|user| {
            let TokenUser { pool, sub, family, .. } = user;
            let issued_at = self.validity.issued_at();
            let origin = TokenOrigin { pool: &pool.id, sub, family: *family, issued_at };
            revocations.is_revoked(&origin, &self.checked)
        })
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
    revocations: Revocations,
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
    /// Makes an empty cache of at most `max_bytes`, and no revocations.
    pub fn new(max_bytes: u64, revocation: &RevocationSettings, metrics: &Metrics) -> Self {
        let time_left = |token: &Arc<VerifiedToken>| token.validity.time_left(SystemTime::now());
        let cache = Cache::new(max_bytes, heap_bytes, time_left, Counter::default());
        let TokenMetrics { lookups, entries, .. } = metrics.tokens.clone();
        let [hits, misses] =
            [TokenLookupResult::Hit, TokenLookupResult::Miss].map(|result| lookups.get(result).clone());
        let measured = cache.clone();
        metrics.scrape_callbacks.add(move || {
            entries.set(measured.size().entries);
        });
        let revocations = Revocations::new(revocation, &metrics.tokens);
        Self { cache, epochs: Arc::default(), revocations, removal: Arc::default(), hits, misses }
    }

    /// Returns the epochs of every user, which the cache of users shares.
    pub fn epochs(&self) -> &Arc<Epochs> {
        &self.epochs
    }

    /// Returns the revocations of tokens.
    pub fn revocations(&self) -> &Revocations {
        &self.revocations
    }

    /// Returns whether a token is revoked.
    pub(super) fn is_revoked(&self, token: &VerifiedToken) -> bool {
        token.is_revoked(&self.revocations)
    }

    /// Looks a token up by all of its bytes. One that is no longer valid is removed; one that is
    /// revoked is not.
    pub(super) fn look_up(&self, token: &[u8]) -> Result<Arc<VerifiedToken>, PendingInsert<'_>> {
        let digest = Digest::of(token);
        if let Some(verified) = self.cache.get(&digest) {
            if verified.is_valid(SystemTime::now()) {
                self.hits.inc();
                return Ok(verified);
            }
            self.cache.remove(&digest);
        }
        self.misses.inc();
        // The user of the token is unknown until it is verified.
        Err(PendingInsert { tokens: self, digest, epoch: self.epochs.of_all() })
    }

    /// Returns a token that is in the cache, without counting that.
    pub(super) fn peek(&self, token: &[u8]) -> Option<Arc<VerifiedToken>> {
        self.cache.get(&Digest::of(token))
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

    /// Frees the tokens that have expired, and the revocations of such.
    pub(super) fn maintain(&self) {
        self.cache.maintain();
        self.revocations.maintain();
    }
}

impl PendingInsert<'_> {
    /// Inserts a token, unless some user was invalidated since the lookup, and returns it.
    pub(super) fn insert(self, token: VerifiedToken) -> Arc<VerifiedToken> {
        let (Self { tokens, digest, epoch }, token) = (self, Arc::new(token));
        tokens.epochs.if_current(epoch, || tokens.cache.insert(digest, Arc::clone(&token)));
        token
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

#[cfg(any(test, feature = "fuzzing"))]
mod fixtures;
#[cfg(any(test, feature = "fuzzing"))]
pub(super) mod fuzzing;
#[cfg(test)]
mod tests;
