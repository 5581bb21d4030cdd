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
    config::RevocationSettings,
    pool::PoolId,
    telemetry::metrics::{Counter, Gauge, TokenMetrics},
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
    gauge: Gauge,
    dropped: Counter,
}

impl Revocations {
    /// Makes an empty set.
    pub fn new(settings: &RevocationSettings, metrics: &TokenMetrics) -> Self {
        let RevocationSettings { token_lifetime, max_bytes, .. } = *settings;
        Self {
            marks: RwLock::new(Marks::new(max_bytes)),
            // A new `CheckedVersion` is older.
            version: AtomicU64::new(1),
            token_lifetime,
            gauge: metrics.marks.clone(),
            dropped: metrics.marks_dropped.clone(),
        }
    }

    /// Refuses these tokens in this process from now on. Returns until when: by then all of them have
    /// expired. An earlier revocation of the same tokens changes nothing, and repeating one neither.
    pub fn revoke(&self, revocation: &Revocation) -> SystemTime {
        let key = (revocation.pool.clone(), revocation.tokens.clone());
        let mut marks = self.marks.write().unwrap_or_else(PoisonError::into_inner);
        let latest = marks.set(key, since_1970(revocation.at));
        if latest.is_moved {
            // While the marks are locked: a check that reads the new version also finds the mark.
            self.version.fetch_add(1, Release);
        }
        self.tidy(marks);
        UNIX_EPOCH.checked_add(latest.time.saturating_add(self.kept_for())).unwrap_or(UNIX_EPOCH)
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
    pub(super) fn token_lifetime(&self) -> Duration {
        self.token_lifetime
    }

    /// Frees the marks whose tokens have all expired.
    pub(super) fn maintain(&self) {
        let marks = self.marks.write().unwrap_or_else(PoisonError::into_inner);
        self.tidy(marks);
    }

    /// Removes the marks that have ended, and those that are too many.
    fn tidy(&self, mut marks: RwLockWriteGuard<'_, Marks>) {
        marks.remove_until(since_1970(SystemTime::now()).checked_sub(self.kept_for()));
        let (dropped, count) = (marks.drop_over_bound(), marks.count());
        self.gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        drop(marks);
        if dropped > 0 {
            self.dropped.inc_by(dropped as u64);
            warn!(dropped, "revocation.max_bytes is full: tokens that were revoked are accepted again");
        }
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
