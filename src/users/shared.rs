//! The shared cache as `users` needs it: which replica fetches a user, what the others fetched, and
//! what they invalidated.
//!
//! A fetch that finds nothing here takes a lease, so that one replica alone calls Cognito. Every
//! entry is timed by the clock of the store: an invalidation is newer than an entry, or it is not,
//! whatever the replicas' own clocks say. When the store fails, each replica goes on as if it were
//! alone.

mod change;
mod change_log;
mod events;
mod failure;
mod invalidation;
mod lease;
mod mark;
mod opened;
mod publications;
mod recent;
mod revocations;
mod state;
mod task;
mod turn;
mod unpublished;
mod value;

use std::{mem, time::Duration};

use tokio::{sync::watch, time::timeout};
use tracing::warn;

pub use self::state::{SharedEntryInfo, SharedState};
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use self::value::fuzzing::shared_entry;
pub(super) use self::{
    events::follow,
    lease::{Lease, Stored},
    turn::Turn,
};
use self::{
    invalidation::Publication,
    publications::Publications,
    recent::{Change, RecentChanges},
    unpublished::UnpublishedMarks,
};
use super::{
    cache::{EntryKind, Key},
    entry::{CacheEntry, Ttls},
};
use crate::{
    auth::Revocations,
    clock::{BootTime, LatestTime},
    pool::PoolId,
    shared_cache::{OldValue, ServerTime, SharedCache, UserKey, ValueKind},
    user::Sub,
};

/// The shared cache, and what this process knows of its invalidations.
#[derive(Debug)]
pub(super) struct Shared {
    store: SharedCache,
    /// Events may have been missed until then. An entry that was not confirmed since must be
    /// confirmed before it is served.
    suspect_since: LatestTime,
    recent: RecentChanges,
    publications: Publications<Publication>,
    /// The revocations of this replica that the store has not confirmed.
    unpublished: UnpublishedMarks,
    /// The marks that this replica knows and the store had not when this replica last read all of it.
    lost: UnpublishedMarks,
    /// The most marks that the store keeps in each stream.
    max_marks: u32,
    /// How long a mark concerns tokens that are accepted.
    marks_needed_for: Duration,
    /// Whether the revocations were read since the start.
    caught_up: watch::Sender<bool>,
    /// How long an entry is used, at most.
    usable_for: Duration,
    /// How long a user's hash is kept.
    ttl: Duration,
}

impl Shared {
    /// Uses this store. Every entry that is cached before the first event is read is suspect.
    pub(super) fn new(store: SharedCache, ttls: Ttls, revocations: &Revocations) -> Self {
        let usable_for = ttls.usable * 11 / 10;
        let shared = Self {
            store,
            suspect_since: LatestTime::default(),
            recent: RecentChanges::new(usable_for),
            publications: Publications::default(),
            unpublished: UnpublishedMarks::default(),
            lost: UnpublishedMarks::default(),
            max_marks: u32::try_from(revocations.max_count()).unwrap_or(u32::MAX).max(MIN_MARKS),
            marks_needed_for: revocations.token_lifetime() + MARGIN,
            caught_up: watch::Sender::new(false),
            usable_for,
            ttl: usable_for + MARGIN,
        };
        shared.suspect_all();
        shared
    }

    /// Returns the store.
    pub(super) fn store(&self) -> &SharedCache {
        &self.store
    }

    /// Returns whether the store is asked at present. No hit and no readiness depends on it.
    pub(super) fn is_available(&self) -> bool {
        self.store.is_available()
    }

    /// Returns whether an entry must be confirmed before it is served, because an invalidation of it
    /// may have been missed. While the store cannot confirm it, its TTLs alone decide.
    pub(super) fn is_suspect(&self, entry: &CacheEntry) -> bool {
        entry.checked <= self.suspect_since.get() && self.is_available()
    }

    /// Waits until the revocations of all replicas were read since the start, but not for long: the
    /// store may be down. Cancel safe.
    pub(super) async fn caught_up(&self) {
        let mut caught_up = self.caught_up.subscribe();
        if timeout(MAX_CATCH_UP, caught_up.wait_for(|is_so| *is_so)).await.is_err() {
            warn!("the revocations of the shared cache cannot be read: revoked tokens may be accepted");
        }
    }

    /// Returns whether the revocations were read since the start.
    pub(super) fn is_caught_up(&self) -> bool {
        *self.caught_up.borrow()
    }

    /// Returns how many marks of this replica the store has not confirmed or has lost.
    pub(super) fn unpublished_marks(&self) -> usize {
        self.unpublished.count() + self.lost.count()
    }

    /// Returns whether there are marks that the store has lost.
    fn has_lost_marks(&self) -> bool {
        self.lost.count() > 0
    }

    /// Returns whether they were not read before.
    fn set_caught_up(&self) -> bool {
        self.caught_up.send_if_modified(|is_so| !mem::replace(is_so, true))
    }

    /// Makes every entry that was confirmed before now suspect.
    fn suspect_all(&self) {
        self.suspect_since.advance(BootTime::now());
    }

    /// Returns whether an entry of the store, or for it, is newer than all that this process has heard
    /// of the user. The store may have lost an invalidation in a failover.
    fn is_current(&self, key: &Key, entry: &CacheEntry) -> bool {
        let Change { invalidated, gone } = self.recent.of(&key.pool, &key.sub);
        entry.since > invalidated && (entry.content.is_gone() || entry.began.boot >= gone)
    }

    /// Returns whether no replica uses a value of the store any more, however old it really is. The key
    /// that opens it may have been removed since.
    fn is_outdated(&self, old: &OldValue, now: ServerTime) -> bool {
        now.saturating_duration_since(old.since) > self.usable_for
    }

    /// Notes that a response just said that a user is disabled or deleted. No fetch of another replica
    /// that began before is used to say otherwise.
    pub(super) fn note_gone(&self, key: &Key) {
        let gone = Change { gone: BootTime::now(), ..Change::default() };
        self.recent.note(&key.pool, &key.sub, gone);
        self.suspect_what_was_forgotten();
    }

    /// Makes the entries suspect whose invalidations this process may have forgotten.
    fn suspect_what_was_forgotten(&self) {
        if self.recent.has_forgotten() {
            self.suspect_all();
        }
    }

    /// Returns when the user was last invalidated, as far as this process has heard.
    #[cfg(test)]
    pub(super) fn heard(&self, pool: &PoolId, sub: &Sub) -> Option<ServerTime> {
        Some(self.recent.of(pool, sub).invalidated)
    }

    #[cfg(test)]
    pub(super) fn metrics(&self) -> &crate::telemetry::metrics::shared_entries::SharedEntryMetrics {
        self.store.metrics()
    }

    #[cfg(test)]
    pub(super) fn user_key(&self, pool: &PoolId, sub: &Sub) -> UserKey {
        self.user(pool, sub)
    }

    fn user(&self, pool: &PoolId, sub: &Sub) -> UserKey {
        self.store.user(pool, sub)
    }
}

impl From<EntryKind> for ValueKind {
    fn from(kind: EntryKind) -> Self {
        match kind {
            EntryKind::Groups => Self::Groups,
            EntryKind::Profile => Self::Profile,
        }
    }
}

// For the clocks, and for a fetch that ends late.
const MARGIN: Duration = Duration::from_secs(60);
// Some 20 MB.
const MIN_MARKS: u32 = 100_000;
// How long a start may wait for the revocations.
const MAX_CATCH_UP: Duration = Duration::from_secs(5);
