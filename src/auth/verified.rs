//! What is known of tokens already verified, by the SHA-256 of all of each; what holds a token's bytes is never kept.

use std::{
    fmt,
    hash::RandomState,
    mem::size_of,
    sync::{
        Arc, PoisonError, RwLock, Weak,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use aws_lc_rs::digest::{SHA256, digest};
use quick_cache::{
    Weighter,
    sync::{Cache, DefaultLifecycle},
};
use tokio::{
    runtime::Handle,
    sync::Mutex,
    task::{JoinError, spawn_blocking},
    time::sleep,
};
use tracing::error;
use zeroize::Zeroize as _;

use super::{
    caller::{Client, TokenIdentity, TokenUser},
    claims::Validity,
    keys::{Key, Keys},
};
use crate::{
    pool::{Pool, PoolId},
    room::Room,
    telemetry::metrics::TokenCacheMetrics,
    user::Sub,
};

/// That a token is good, why, and how long it may be taken for that.
#[derive(Debug)]
pub(super) struct VerifiedToken {
    pub(super) identity: TokenIdentity,
    pub(super) validity: Validity,
    /// The key that verified it: the verified ends with it.
    pub(super) key: Arc<Key>,
    pub(super) pool: Arc<Pool>,
}

impl VerifiedToken {
    /// Returns true as long as the token keeps every rule of time, and `keys` the very key that verified it.
    pub(super) fn is_valid(&self, keys: Option<&Keys>, now: SystemTime) -> bool {
        keys.is_some_and(|keys| keys.is_current(&self.key)) && self.validity.check(now).is_ok()
    }

    fn is_about(&self, pool: &PoolId, sub: &Sub) -> bool {
        self.identity.user.as_ref().is_some_and(|user| user.pool.id == *pool && user.sub == *sub)
    }
}

/// The tokens that are held, within a bound in bytes.
pub(super) struct VerifiedTokens {
    held: Held,
    /// How often a user was forgotten. Held for reading while a verified is put.
    epoch: RwLock<usize>,
    /// Whose turn it is to look at all of them.
    turn: Arc<Mutex<()>>,
    metrics: TokenCacheMetrics,
}

type Held =
    Cache<Digest, Arc<VerifiedToken>, Weigh, RandomState, DefaultLifecycle<Digest, Arc<VerifiedToken>>>;

/// What is known of a token.
pub(super) enum TokenLookup<'a> {
    /// It is good, and this is its identity.
    Hit(TokenIdentity),
    /// Nothing.
    Miss(PendingInsert<'a>),
}

/// The place of a verified that is to be reached.
pub(super) struct PendingInsert<'a> {
    tokens: &'a VerifiedTokens,
    digest: Digest,
    epoch: usize,
}

impl VerifiedTokens {
    /// Makes an empty store of at most `max_bytes`.
    pub(super) fn new(max_bytes: u64, metrics: TokenCacheMetrics) -> Self {
        let room = Room { bytes: max_bytes, usual: USUAL_BYTES, shard: SHARD_BYTES, shards: MAX_SHARDS };
        Self {
            held: room.cache(Weigh, DefaultLifecycle::default()),
            epoch: RwLock::new(0),
            turn: Arc::default(),
            metrics,
        }
    }

    /// Looks up all of a token, as it was presented. A verified that no longer `is_valid` is forgotten.
    pub(super) fn look_up(
        &self,
        token: &[u8],
        is_valid: impl FnOnce(&VerifiedToken) -> bool,
    ) -> TokenLookup<'_> {
        let digest = Digest::of(token);
        if let Some(verified) = self.held.get(&digest) {
            if is_valid(&verified) {
                self.metrics.hits.inc();
                return TokenLookup::Hit(verified.identity.clone());
            }
            self.held.remove(&digest);
            self.tell();
        }
        self.metrics.misses.inc();
        let epoch = *self.epoch.read().unwrap_or_else(PoisonError::into_inner);
        TokenLookup::Miss(PendingInsert { tokens: self, digest, epoch })
    }

    /// Forgets every verified about one user, and returns how many there were. What is being reached meanwhile is not
    /// kept. Looks at every verified, on a blocking thread of `runtime`, for one caller at a time. A caller that leaves
    /// stops nothing that has begun; fails only where the scan does not end: in a panic, or with the runtime.
    pub(super) async fn forget(
        self: &Arc<Self>,
        pool: &PoolId,
        sub: &Sub,
        runtime: &Handle,
    ) -> Result<usize, JoinError> {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let (tokens, pool, sub) = (Arc::clone(self), pool.clone(), sub.clone());
        let scan = move || {
            let _turn = turn;
            tokens.scan(&pool, &sub)
        };
        runtime.spawn_blocking(scan).await
    }

    fn scan(&self, pool: &PoolId, sub: &Sub) -> usize {
        // Waits for those who are putting one now: the look below then sees it.
        *self.epoch.write().unwrap_or_else(PoisonError::into_inner) += 1;
        self.drop_where(|verified| verified.is_about(pool, sub))
    }

    /// Forgets those whose token has ended. Looks at every verified, and so is not for a thread that others wait for; who
    /// presents a token waits while one shard is looked at, at most.
    fn sweep(&self, now: SystemTime) {
        self.drop_where(|verified| verified.validity.has_expired(now));
    }

    fn drop_where(&self, is_past: impl Fn(&VerifiedToken) -> bool) -> usize {
        let dropped = AtomicUsize::new(0);
        self.held.retain(|_, verified| {
            let is_past = is_past(verified);
            dropped.fetch_add(usize::from(is_past), Relaxed);
            !is_past
        });
        self.tell();
        dropped.into_inner()
    }

    fn tell(&self) {
        self.metrics.entries.set(i64::try_from(self.held.len()).unwrap_or(i64::MAX));
    }
}

/// Forgets now and then the tokens that have ended: nobody is kept for longer than that, however much room there is.
pub(super) async fn sweep(tokens: Weak<VerifiedTokens>) {
    while let Some(tokens) = tokens.upgrade() {
        if spawn_blocking(move || tokens.sweep(SystemTime::now())).await.is_err() {
            error!("a sweep failed: tokens that have ended are known until the next");
        }
        sleep(PAUSE).await;
    }
}

impl fmt::Debug for VerifiedTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifiedTokens").field("held", &self.held.len()).finish_non_exhaustive()
    }
}

impl PendingInsert<'_> {
    /// Holds a verified, unless some user was forgotten since the look, and returns its identity.
    pub(super) fn insert(self, verified: VerifiedToken) -> TokenIdentity {
        let Self { tokens, digest, epoch } = self;
        let identity = verified.identity.clone();
        let present = tokens.epoch.read().unwrap_or_else(PoisonError::into_inner);
        if *present == epoch {
            tokens.held.insert(digest, Arc::new(verified));
            tokens.tell();
        }
        identity
    }
}

/// The SHA-256 of a token: who has it can tell whether a token is that one, so it is wiped.
#[derive(Eq, Hash, PartialEq)]
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

/// See [`weigh`].
#[derive(Clone, Debug)]
struct Weigh;

impl Weighter<Digest, Arc<VerifiedToken>> for Weigh {
    fn weight(&self, _: &Digest, verified: &Arc<VerifiedToken>) -> u64 {
        weigh(verified)
    }
}

fn weigh(verified: &VerifiedToken) -> u64 {
    let text = |text: &str| ALLOCATION_BYTES + text.len();
    let user = verified.identity.user.as_deref().map_or(0, |user| {
        let TokenUser { sub, username, groups, .. } = user;
        let names = groups.names().map(|name| size_of::<Box<str>>() + text(name));
        let groups = ALLOCATION_BYTES + names.sum::<usize>();
        ALLOCATION_BYTES + size_of::<TokenUser>() + text(sub.as_str()) + text(username.as_str()) + groups
    });
    let client = ALLOCATION_BYTES + size_of::<Client>() + text(verified.identity.client.scopes.as_str());
    let bytes = ENTRY_BYTES + size_of::<VerifiedToken>() + client + user;
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

// The cache's own cost of an entry with its key. With these two figures 200,000 tokens with two groups and four scopes
// each weigh 635 bytes, and the process grew by 603 (`memory_of_verdicts_is_what_they_weigh`).
const ENTRY_BYTES: usize = 60;
// An allocator's rounding, and the two counts of what is shared.
const ALLOCATION_BYTES: usize = 32;
// A verified with two groups and four scopes.
const USUAL_BYTES: u64 = 635;
// Each shard has a part of the room, in which the largest verified, of 100 groups, must fit many times.
const SHARD_BYTES: u64 = 1 << 20;
const MAX_SHARDS: usize = 256;
const PAUSE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
