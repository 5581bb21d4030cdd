//! A cache entry, and how long it may be served. All cache policy is here, pure.

use std::{sync::Arc, time::Duration};

use crate::{
    clock::{BootTime, TimePoint},
    freshness::{Freshness, FreshnessRequirement, Source, StaleReason},
    shared_cache::ServerTime,
    user::{Groups, User},
};

/// The result of one fetch, when that fetch began, and whether another has failed since.
#[derive(Clone, Debug)]
pub(super) struct CacheEntry {
    pub(super) content: Content,
    /// Read before the request was sent, so the content includes whatever was written before it.
    pub(super) began: TimePoint,
    /// What the content came from: Cognito, or the shared cache.
    pub(super) origin: Source,
    /// When the fetch began by the clock of the shared cache, which invalidations are timed by; zero
    /// if it had no lease.
    pub(super) since: ServerTime,
    /// When the shared cache last confirmed that no invalidation is newer than this entry; the
    /// default if it never has.
    pub(super) checked: BootTime,
    /// Why the last fetch since then failed; none if it did not.
    pub(super) failure: Option<StaleReason>,
    /// When the failed fetch ended, in milliseconds after `began`: 4 bytes, because every cached
    /// user has them.
    pub(super) failed_after: u32,
    /// Whether an administrator made it stale, whatever its age.
    pub(super) expired: bool,
    /// The factor on this entry's TTLs, in percent, 90 to 110: entries that were fetched together
    /// must not be refreshed together.
    pub(super) ttl_jitter: u8,
}

/// What one fetch returned.
#[derive(Clone, Debug)]
pub(super) enum Content {
    /// Cognito knows no such user (a negative cache entry).
    Absent(LookupMethod),
    /// The user's groups, and whether the user was enabled.
    Groups(Groups, bool),
    Present(Arc<User>),
}

/// How Cognito looked the user up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum LookupMethod {
    /// By `sub`, which may miss a federated user or one created a moment ago.
    BySub,
    /// By the username in a verified token, which misses only users that are gone.
    ByUsername,
}

/// How long entries are served; `fresh` is at most `usable`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ttls {
    /// A user is served without a fetch; past half of it, one hit schedules a refresh
    /// (refresh-ahead).
    pub(super) fresh: Duration,
    /// A user is served while Cognito cannot answer (stale-if-error).
    pub(super) usable: Duration,
    /// A negative entry is served.
    pub(super) absent: Duration,
}

/// What to do with an entry when a request finds it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Decision {
    /// Fetch, and let the caller wait.
    Fetch,
    /// Fetch, and let the caller wait briefly: the entry is usable if the fetch fails.
    FetchOrStale,
    Serve,
    /// Serve it, and refresh it in the background.
    ServeAndRefresh,
    /// Serve it as stale, for this reason.
    ServeStale(StaleReason),
}

impl Content {
    /// Returns whether the user is deleted or disabled, which no stale entry may hide.
    pub(super) fn is_gone(&self) -> bool {
        match self {
            Self::Absent(_) => true,
            Self::Groups(_, enabled) => !enabled,
            Self::Present(user) => !user.enabled,
        }
    }
}

impl Ttls {
    /// Decides for a request with this method and requirement. After a failed fetch of a user, the
    /// next one waits for 1 s.
    pub(super) fn decide(
        &self,
        entry: &CacheEntry,
        method: LookupMethod,
        requirement: FreshnessRequirement,
        now: BootTime,
    ) -> Decision {
        if !entry.satisfies(method, requirement, now) {
            return Decision::Fetch;
        }
        let age = now - entry.began.boot;
        let within = |ttl: Duration| age < ttl * u32::from(entry.ttl_jitter) / 100;
        let is_fresh = |ttl: Duration| within(ttl) && !entry.expired;
        let since_failure = age.saturating_sub(Duration::from_millis(entry.failed_after.into()));
        let backoff = entry.failure.filter(|_| since_failure < FAILURE_BACKOFF);
        match (&entry.content, backoff) {
            (Content::Absent(_), _) if within(self.absent) => Decision::Serve,
            (Content::Absent(_), _) => Decision::Fetch,
            (_, _) if is_fresh(self.fresh / 2) => Decision::Serve,
            (_, None) if is_fresh(self.fresh) => Decision::ServeAndRefresh,
            (_, Some(_)) if is_fresh(self.fresh) => Decision::Serve,
            (_, Some(reason)) if within(self.usable) => Decision::ServeStale(reason),
            (_, None) if within(self.usable) => Decision::FetchOrStale,
            (_, _) => Decision::Fetch,
        }
    }

    /// Returns whether an entry may still say something about its user: anything but an absence past
    /// its TTL.
    pub(super) fn holds(&self, entry: &CacheEntry, now: BootTime) -> bool {
        let age = now - entry.began.boot;
        !matches!(entry.content, Content::Absent(_)) || age < self.absent * u32::from(entry.ttl_jitter) / 100
    }
}

impl CacheEntry {
    /// Makes the entry of a fetch that began then, with TTLs of its own. The shared cache has no part
    /// in it yet.
    pub(super) fn new(content: Content, began: TimePoint) -> Self {
        Self {
            content,
            began,
            origin: Source::Cognito,
            since: ServerTime::default(),
            checked: BootTime::default(),
            failure: None,
            failed_after: 0,
            expired: false,
            ttl_jitter: fastrand::u8(90..=110),
        }
    }

    /// Returns the same entry with a failed fetch noted on it.
    pub(super) fn failed(self, ended: BootTime, reason: StaleReason) -> Self {
        let after = (ended - self.began.boot).as_millis();
        Self { failure: Some(reason), failed_after: u32::try_from(after).unwrap_or(u32::MAX), ..self }
    }

    pub(super) fn freshness(
        &self,
        source: Source,
        stale_reason: Option<StaleReason>,
        now: BootTime,
    ) -> Freshness {
        Freshness { source, began: self.began, age: now - self.began.boot, stale_reason }
    }

    /// Returns the same entry made stale: usable only if the next fetch fails.
    pub(super) fn expired(self) -> Self {
        Self { expired: true, failure: None, ..self }
    }

    /// Returns whether it meets the requirement at `now` and is conclusive for the method. A
    /// negative entry by `sub` is not conclusive for a user whose token was just verified.
    pub(super) fn satisfies(
        &self,
        method: LookupMethod,
        requirement: FreshnessRequirement,
        now: BootTime,
    ) -> bool {
        let inconclusive = matches!(self.content, Content::Absent(LookupMethod::BySub))
            && method == LookupMethod::ByUsername;
        requirement.is_satisfied(self.began.boot, now) && !inconclusive
    }
}

const FAILURE_BACKOFF: Duration = Duration::from_secs(1);

#[cfg(test)]
pub(super) mod tests;
