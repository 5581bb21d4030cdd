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
    caller::{Bearer, Client, Person},
    claims::Validity,
    keys::{Key, Keys},
};
use crate::{
    pool::{Pool, PoolId},
    room::Room,
    telemetry::metrics::VerdictMetrics,
    user::Sub,
};

/// That a token is good, why, and how long it may be taken for that.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) bearer: Bearer,
    pub(super) validity: Validity,
    /// The key that verified it: the verdict ends with it.
    pub(super) key: Arc<Key>,
    pub(super) pool: Arc<Pool>,
}

impl Verdict {
    /// Returns true as long as the token keeps every rule of time, and `keys` the very key that verified it.
    pub(super) fn stands(&self, keys: Option<&Keys>, now: SystemTime) -> bool {
        keys.is_some_and(|keys| keys.hold(&self.key)) && self.validity.check(now).is_ok()
    }

    fn is_about(&self, pool: &PoolId, sub: &Sub) -> bool {
        self.bearer.person.as_ref().is_some_and(|person| person.pool.id == *pool && person.sub == *sub)
    }
}

/// The verdicts that are held, within a bound in bytes.
pub(super) struct Verdicts {
    held: Held,
    /// How often a user was forgotten. Held for reading while a verdict is put.
    era: RwLock<usize>,
    /// Whose turn it is to look at all of them.
    turn: Arc<Mutex<()>>,
    metrics: VerdictMetrics,
}

type Held = Cache<Digest, Arc<Verdict>, Weigh, RandomState, DefaultLifecycle<Digest, Arc<Verdict>>>;

/// What is known of a token.
pub(super) enum Look<'a> {
    /// It is good, and this is its bearer.
    Known(Bearer),
    /// Nothing.
    Unknown(Vacancy<'a>),
}

/// The place of a verdict that is to be reached.
pub(super) struct Vacancy<'a> {
    verdicts: &'a Verdicts,
    digest: Digest,
    era: usize,
}

impl Verdicts {
    /// Makes an empty store of at most `max_bytes`.
    pub(super) fn new(max_bytes: u64, metrics: VerdictMetrics) -> Self {
        let room = Room { bytes: max_bytes, usual: USUAL_BYTES, shard: SHARD_BYTES, shards: MAX_SHARDS };
        Self {
            held: room.cache(Weigh, DefaultLifecycle::default()),
            era: RwLock::new(0),
            turn: Arc::default(),
            metrics,
        }
    }

    /// Looks up all of a token, as it was presented. A verdict that no longer `stands` is forgotten.
    pub(super) fn look(&self, token: &[u8], stands: impl FnOnce(&Verdict) -> bool) -> Look<'_> {
        let digest = Digest::of(token);
        if let Some(verdict) = self.held.get(&digest) {
            if stands(&verdict) {
                self.metrics.hits.inc();
                return Look::Known(verdict.bearer.clone());
            }
            self.held.remove(&digest);
            self.tell();
        }
        self.metrics.misses.inc();
        let era = *self.era.read().unwrap_or_else(PoisonError::into_inner);
        Look::Unknown(Vacancy { verdicts: self, digest, era })
    }

    /// Forgets every verdict about one user, and returns how many there were. What is being reached meanwhile is not
    /// kept. Looks at every verdict, on a blocking thread of `runtime`, for one caller at a time. A caller that leaves
    /// stops nothing that has begun; fails only where the scan does not end: in a panic, or with the runtime.
    pub(super) async fn forget(
        self: &Arc<Self>,
        pool: &PoolId,
        sub: &Sub,
        runtime: &Handle,
    ) -> Result<usize, JoinError> {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let (verdicts, pool, sub) = (Arc::clone(self), pool.clone(), sub.clone());
        let scan = move || {
            let _turn = turn;
            verdicts.scan(&pool, &sub)
        };
        runtime.spawn_blocking(scan).await
    }

    fn scan(&self, pool: &PoolId, sub: &Sub) -> usize {
        // Waits for those who are putting one now: the look below then sees it.
        *self.era.write().unwrap_or_else(PoisonError::into_inner) += 1;
        self.drop_where(|verdict| verdict.is_about(pool, sub))
    }

    /// Forgets those whose token has ended. Looks at every verdict, and so is not for a thread that others wait for; who
    /// presents a token waits while one shard is looked at, at most.
    fn sweep(&self, now: SystemTime) {
        self.drop_where(|verdict| verdict.validity.has_ended(now));
    }

    fn drop_where(&self, is_past: impl Fn(&Verdict) -> bool) -> usize {
        let dropped = AtomicUsize::new(0);
        self.held.retain(|_, verdict| {
            let is_past = is_past(verdict);
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
pub(super) async fn sweep(verdicts: Weak<Verdicts>) {
    while let Some(verdicts) = verdicts.upgrade() {
        if spawn_blocking(move || verdicts.sweep(SystemTime::now())).await.is_err() {
            error!("a sweep failed: tokens that have ended are known until the next");
        }
        sleep(PAUSE).await;
    }
}

impl fmt::Debug for Verdicts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verdicts").field("held", &self.held.len()).finish_non_exhaustive()
    }
}

impl Vacancy<'_> {
    /// Holds a verdict, unless some user was forgotten since the look, and returns its bearer.
    pub(super) fn fill(self, verdict: Verdict) -> Bearer {
        let Self { verdicts, digest, era } = self;
        let bearer = verdict.bearer.clone();
        let present = verdicts.era.read().unwrap_or_else(PoisonError::into_inner);
        if *present == era {
            verdicts.held.insert(digest, Arc::new(verdict));
            verdicts.tell();
        }
        bearer
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

impl Weighter<Digest, Arc<Verdict>> for Weigh {
    fn weight(&self, _: &Digest, verdict: &Arc<Verdict>) -> u64 {
        weigh(verdict)
    }
}

fn weigh(verdict: &Verdict) -> u64 {
    let text = |text: &str| ALLOCATION_BYTES + text.len();
    let person = verdict.bearer.person.as_deref().map_or(0, |person| {
        let Person { sub, username, groups, .. } = person;
        let names = groups.names().map(|name| size_of::<Box<str>>() + text(name));
        let groups = ALLOCATION_BYTES + names.sum::<usize>();
        ALLOCATION_BYTES + size_of::<Person>() + text(sub.as_str()) + text(username.as_str()) + groups
    });
    let client = ALLOCATION_BYTES + size_of::<Client>() + text(verdict.bearer.client.scopes.as_str());
    let bytes = ENTRY_BYTES + size_of::<Verdict>() + client + person;
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

// The cache's own cost of an entry with its key. With these two figures 200,000 verdicts with two groups and four scopes
// each weigh 635 bytes, and the process grew by 603 (`memory_of_verdicts_is_what_they_weigh`).
const ENTRY_BYTES: usize = 60;
// An allocator's rounding, and the two counts of what is shared.
const ALLOCATION_BYTES: usize = 32;
// A verdict with two groups and four scopes.
const USUAL_BYTES: u64 = 635;
// Each shard has a part of the room, in which the largest verdict, of 100 groups, must fit many times.
const SHARD_BYTES: u64 = 1 << 20;
const MAX_SHARDS: usize = 256;
const PAUSE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
