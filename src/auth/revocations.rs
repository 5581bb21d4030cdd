//! Refuses access tokens that were revoked before they expire.
//!
//! A revocation leaves a mark, which says until when the tokens of a user were issued that are
//! refused, or that a family of tokens is refused. The latest mark of a user wins, so marks may
//! arrive in any order and more than once. A mark is kept until every token that it is about has
//! expired.

mod family;
mod marks;

use std::{
    sync::{
        PoisonError, RwLock, RwLockWriteGuard,
        atomic::{
            AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tracing::warn;

pub use self::family::TokenFamily;
use self::marks::Marks;
use crate::{
    config::{OnlineCheck, RevocationSettings},
    pool::PoolId,
    telemetry::metrics::{Counter, EnumFamily, Gauge, OnlineCheckOutcome, TokenMetrics},
    user::Sub,
};

/// A revocation of access tokens of a pool.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Revocation {
    /// The pool that issued the tokens.
    pub pool: PoolId,
    /// Which tokens are revoked.
    pub tokens: RevokedTokens,
    /// When they were revoked: of a user, the tokens issued until then are refused.
    pub at: SystemTime,
}

/// Which tokens of a pool are revoked.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum RevokedTokens {
    /// All tokens of the family, whenever they were issued.
    OfFamily(TokenFamily),
    /// The tokens of the user that were issued until the revocation.
    OfUser(Sub),
    /// Perhaps some of the tokens of the user that were issued until then. None is refused for that, but
    /// Cognito may be asked about them.
    SuspectsOfUser(Sub),
}

impl RevokedTokens {
    /// Returns the user whose tokens are refused; none if they are named otherwise.
    pub fn user(&self) -> Option<&Sub> {
        match self {
            Self::OfUser(sub) => Some(sub),
            Self::OfFamily(_) | Self::SuspectsOfUser(_) => None,
        }
    }
}

/// The version of the revocations that a token was last checked against.
#[derive(Debug, Default)]
pub(super) struct CheckedVersion(AtomicU64);

/// What a token is checked by.
#[derive(Debug)]
pub(super) struct TokenOrigin<'a> {
    pub(super) pool: &'a PoolId,
    pub(super) sub: &'a Sub,
    pub(super) family: Option<TokenFamily>,
    /// Since 1970.
    pub(super) issued_at: Option<Duration>,
}

/// The revocations that are in force, bounded in bytes.
#[derive(Debug)]
pub struct Revocations {
    marks: RwLock<Marks>,
    /// Counts the changes of the marks after which a token may be refused that was not before.
    version: AtomicU64,
    token_lifetime: Duration,
    online: OnlineChecking,
    gauge: Gauge,
    dropped: Counter,
}

/// How Cognito is asked about tokens.
#[derive(Clone, Debug)]
pub struct OnlineChecking {
    /// About which.
    pub which: OnlineCheck,
    /// How often about those of one sign-in.
    pub every: Duration,
    /// How checks ended.
    pub outcomes: EnumFamily<OnlineCheckOutcome, Counter>,
}

impl Revocations {
    /// Makes an empty set.
    pub fn new(settings: &RevocationSettings, metrics: &TokenMetrics) -> Self {
        let RevocationSettings { token_lifetime, max_bytes, online, online_every, .. } = *settings;
        let outcomes = metrics.online_checks.clone();
        Self {
            marks: RwLock::new(Marks::new(max_bytes)),
            // A new `CheckedVersion` is older.
            version: AtomicU64::new(1),
            token_lifetime,
            online: OnlineChecking { which: online, every: online_every, outcomes },
            gauge: metrics.marks.clone(),
            dropped: metrics.marks_dropped.clone(),
        }
    }

    /// Refuses these tokens in this process from now on. Returns until when: by then all of them have
    /// expired. Returns none if the memory is full of revocations that expire later; these tokens stay
    /// accepted. A revocation earlier than a stored one of the same tokens has no effect, nor has a
    /// repeated one.
    pub fn revoke(&self, revocation: &Revocation) -> Option<SystemTime> {
        let key = (revocation.pool.clone(), revocation.tokens.clone());
        let mut marks = self.marks.write().unwrap_or_else(PoisonError::into_inner);
        let latest = marks.set(key.clone(), since_1970(revocation.at));
        if latest.is_moved {
            // While the marks are locked: a check that reads the new version also finds the mark.
            self.version.fetch_add(1, Release);
        }
        let until = latest.time.saturating_add(self.kept_for());
        let is_over = until <= since_1970(SystemTime::now());
        let is_kept = self.tidy(marks, |marks| marks.get(&key).is_some());
        (is_kept || is_over).then(|| UNIX_EPOCH.checked_add(until).unwrap_or(UNIX_EPOCH))
    }

    /// Returns whether this revocation, or a later one of the same tokens, is in memory.
    pub fn has(&self, revocation: &Revocation) -> bool {
        let key = (revocation.pool.clone(), revocation.tokens.clone());
        let marks = self.marks.read().unwrap_or_else(PoisonError::into_inner);
        marks.get(&key).is_some_and(|mark| mark >= since_1970(revocation.at))
    }

    /// Returns all that are in memory.
    pub fn all(&self) -> Vec<Revocation> {
        let marks = self.marks.read().unwrap_or_else(PoisonError::into_inner);
        let time = |time| UNIX_EPOCH.checked_add(time).unwrap_or(UNIX_EPOCH);
        let all = marks.all().map(|((pool, tokens), at)| (pool.clone(), tokens.clone(), time(at)));
        all.map(|(pool, tokens, at)| Revocation { pool, tokens, at }).collect()
    }

    /// Returns until when the tokens of a user were issued of which some may be revoked; none if none may.
    pub fn suspected_until(&self, pool: &PoolId, sub: &Sub) -> Option<SystemTime> {
        let key = (pool.clone(), RevokedTokens::SuspectsOfUser(sub.clone()));
        let mark = self.marks.read().unwrap_or_else(PoisonError::into_inner).get(&key)?;
        UNIX_EPOCH.checked_add(mark)
    }

    /// Returns how Cognito is asked about tokens.
    pub fn online(&self) -> &OnlineChecking {
        &self.online
    }

    /// Returns how many revocations there is room for.
    pub fn max_count(&self) -> usize {
        self.marks.read().unwrap_or_else(PoisonError::into_inner).max_count()
    }

    /// Returns whether a token is revoked. If no mark was set since the token was last checked, it
    /// takes one atomic load of what others write.
    pub(super) fn is_revoked(&self, token: &TokenOrigin<'_>, checked: &CheckedVersion) -> bool {
        let version = self.version.load(Acquire);
        if checked.0.load(Relaxed) == version {
            return false;
        }
        let marks = self.marks.read().unwrap_or_else(PoisonError::into_inner);
        let of_user = marks.get(&(token.pool.clone(), RevokedTokens::OfUser(token.sub.clone())));
        let is_revoked = of_user.is_some_and(|mark| token.issued_at.is_none_or(|issued| issued <= mark))
            || token.family.is_some_and(|family| {
                marks.get(&(token.pool.clone(), RevokedTokens::OfFamily(family))).is_some()
            });
        if !is_revoked {
            checked.0.store(version, Relaxed);
        }
        is_revoked
    }

    /// Returns whether a token of this user would be refused.
    #[cfg(test)]
    pub(crate) fn refuses(&self, pool: &PoolId, sub: &Sub, issued_at: SystemTime) -> bool {
        let token = TokenOrigin { pool, sub, family: None, issued_at: Some(since_1970(issued_at)) };
        self.is_revoked(&token, &CheckedVersion::default())
    }

    /// Returns how long a user's access token may be valid.
    pub fn token_lifetime(&self) -> Duration {
        self.token_lifetime
    }

    /// Frees the marks whose tokens have all expired.
    pub(super) fn maintain(&self) {
        let marks = self.marks.write().unwrap_or_else(PoisonError::into_inner);
        self.tidy(marks, |_| ());
    }

    /// Removes the marks that have ended, and those that are too many. Returns what `look` finds then.
    fn tidy<T>(&self, mut marks: RwLockWriteGuard<'_, Marks>, look: impl FnOnce(&Marks) -> T) -> T {
        marks.remove_until(since_1970(SystemTime::now()).checked_sub(self.kept_for()));
        let (dropped, count) = (marks.drop_over_bound(), marks.count());
        self.gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        let found = look(&marks);
        drop(marks);
        if dropped > 0 {
            self.dropped.inc_by(dropped as u64);
            warn!(dropped, "revocation.max_bytes is full: tokens that were revoked are accepted again");
        }
        found
    }

    /// A token is issued up to the leeway ahead of our clock, and valid for the leeway after `exp`.
    fn kept_for(&self) -> Duration {
        self.token_lifetime + 2 * LEEWAY
    }
}

fn since_1970(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The difference of the clocks that is tolerated.
pub(super) const LEEWAY: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
