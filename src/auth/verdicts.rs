//! What is known of tokens already verified, by the SHA-256 of all of each; what holds a token's bytes is never kept.

use std::{
    fmt,
    mem::size_of,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, SystemTime},
};

use aws_lc_rs::digest::{SHA256, digest};
use moka::{Expiry, sync::Cache};
use tokio::{runtime::Handle, sync::Mutex, task::JoinError};
use zeroize::Zeroize as _;

use super::{
    caller::{Bearer, Client, Person},
    claims::Validity,
    keys::{Key, Keys},
};
use crate::{
    pool::{Pool, PoolId},
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
    held: Cache<Digest, Arc<Verdict>>,
    /// How often a user was forgotten. Held for reading while a verdict is put.
    era: RwLock<usize>,
    /// Whose turn it is to look at all of them.
    turn: Arc<Mutex<()>>,
    metrics: VerdictMetrics,
}

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
        let entries = metrics.entries.clone();
        let held = Cache::builder()
            .max_capacity(max_bytes)
            .weigher(weigh)
            .expire_after(UntilTheTokenEnds)
            .eviction_listener(move |_, _, _| {
                entries.dec();
            })
            .build();
        Self { held, era: RwLock::new(0), turn: Arc::default(), metrics }
    }

    /// Looks up all of a token, as it was presented. A verdict that no longer `stands` is forgotten.
    pub(super) fn look(&self, token: &[u8], stands: impl FnOnce(&Verdict) -> bool) -> Look<'_> {
        let digest = Digest::of(token);
        if let Some(verdict) = self.held.get(&digest) {
            if stands(&verdict) {
                self.metrics.hits.inc();
                return Look::Known(verdict.bearer.clone());
            }
            self.held.invalidate(&digest);
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
        let theirs = self.held.iter().filter(|(_, verdict)| verdict.is_about(pool, sub));
        let forgotten = theirs.filter_map(|(digest, _)| self.held.remove(&*digest)).count();
        // Until then they are out of reach, but in memory.
        self.held.run_pending_tasks();
        forgotten
    }
}

impl fmt::Debug for Verdicts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verdicts").field("held", &self.held.entry_count()).finish_non_exhaustive()
    }
}

impl Vacancy<'_> {
    /// Holds a verdict, unless some user was forgotten since the look, and returns its bearer.
    pub(super) fn fill(self, verdict: Verdict) -> Bearer {
        let Self { verdicts, digest, era } = self;
        let bearer = verdict.bearer.clone();
        let present = verdicts.era.read().unwrap_or_else(PoisonError::into_inner);
        if *present == era {
            verdicts.metrics.entries.inc();
            verdicts.held.insert(digest, Arc::new(verdict));
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

/// Makes room early, by a clock that knows of no suspended machine and no corrected time: what is past its end does not
/// stand anyway.
struct UntilTheTokenEnds;

impl Expiry<Digest, Arc<Verdict>> for UntilTheTokenEnds {
    #[expect(clippy::disallowed_types, reason = "moka's clock, which is not looked at")]
    fn expire_after_create(
        &self,
        _: &Digest,
        verdict: &Arc<Verdict>,
        _: std::time::Instant,
    ) -> Option<Duration> {
        Some(verdict.validity.left(SystemTime::now()))
    }
}

fn weigh(_: &Digest, verdict: &Arc<Verdict>) -> u32 {
    let text = |text: &str| ALLOCATION_BYTES + text.len();
    let person = verdict.bearer.person.as_deref().map_or(0, |person| {
        let Person { sub, username, groups, .. } = person;
        let names = groups.names().map(|name| size_of::<Box<str>>() + text(name));
        let groups = ALLOCATION_BYTES + names.sum::<usize>();
        ALLOCATION_BYTES + size_of::<Person>() + text(sub.as_str()) + text(username.as_str()) + groups
    });
    let client = ALLOCATION_BYTES + size_of::<Client>() + text(verdict.bearer.client.scopes.as_str());
    let bytes = ENTRY_BYTES + size_of::<Verdict>() + client + person;
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

// moka's own cost of an entry with its key and its timer. With these two figures 200,000 verdicts with two groups and
// four scopes each weigh 944 bytes, and the process grew by 939.
const ENTRY_BYTES: usize = 394;
// An allocator's header and rounding, and the two counts of what is shared.
const ALLOCATION_BYTES: usize = 32;

#[cfg(test)]
mod tests;
