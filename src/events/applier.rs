//! Applies messages to what is known of users.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures_util::future::join_all;
use tokio::sync::watch;

use super::{
    applied::Applied,
    change::{Change, ChangeKind, Ignored, Reason, Subject},
    erasure, message,
    notices::Notices,
    repeats::Repeats,
};
use crate::{
    audit::Recorder,
    changes,
    config::RevocationCause,
    pool::{BareSubLookup, Pool, Pools},
    telemetry::metrics::events::{EventMetrics, EventOutcome},
    user::Sub,
    users::{GroupChange, Invalidation, Users},
};

/// Applies messages. None of them causes a call to Cognito, and any order and repetition of them ends
/// in the same state.
#[derive(Debug)]
pub(super) struct Applier {
    pub(super) users: Users,
    /// The pools that are served at present.
    pub(super) pools: watch::Receiver<Pools>,
    /// Records what is erased.
    pub(super) audit: Recorder,
    pub(super) skew: Duration,
    /// The changes that revoke the user's tokens.
    pub(super) revoke_on: Vec<RevocationCause>,
    pub(super) metrics: EventMetrics,
    pub(super) applied: Applied,
    pub(super) notices: Notices,
    pub(super) repeats: Repeats,
}

impl Applier {
    /// Applies the message with this body, which was received so many times, and counts it. Returns
    /// whether it can be deleted. Cancel safe: the message returns then, and may be applied twice.
    pub(super) async fn handle(&self, body: &str, receives: u32) -> bool {
        let now = SystemTime::now();
        let served = self.pools.borrow().clone();
        let is_served = |id: &_| served.by_id(id).is_some();
        let (event, outcome) = match message::parse(body, now, is_served) {
            Ok(change) => {
                self.metrics.received(change.at, now);
                (change.event, self.apply(&change).await)
            }
            Err(ignored) => (ignored.event, self.ignore(&ignored, receives)),
        };
        self.metrics.count(event, outcome);
        match outcome {
            EventOutcome::Malformed => receives >= MAX_RECEIVES,
            EventOutcome::Retried => false,
            _ => true,
        }
    }

    fn ignore(&self, ignored: &Ignored, receives: u32) -> EventOutcome {
        match &ignored.reason {
            Reason::Malformed => {
                self.notices.malformed(receives);
                EventOutcome::Malformed
            }
            Reason::Unknown(name) => {
                name.as_deref().map(|name| self.notices.unknown(name));
                EventOutcome::Unknown
            }
            Reason::Foreign => EventOutcome::Foreign,
            Reason::Failed => EventOutcome::Failed,
            Reason::NoSubject => EventOutcome::NoSubject,
        }
    }

    async fn apply(&self, change: &Change) -> EventOutcome {
        let served = self.pools.borrow().clone();
        let pools: Vec<_> = served.iter().filter(|pool| change.is_in(pool)).collect();
        if pools.is_empty() {
            return EventOutcome::Foreign;
        }
        let apply = |pool| async move {
            match &change.subject {
                Subject::User(sub) => self.apply_in(pool, sub, change).await,
                // Only Cognito knows the members, and an event causes no call to it.
                Subject::GroupMembers => self.outdate_groups(pool, None, change).await,
            }
        };
        let outcomes = join_all(pools.into_iter().map(apply)).await;
        let by_weight =
            [EventOutcome::Retried, EventOutcome::Applied, EventOutcome::Suspect, EventOutcome::Unused];
        by_weight.into_iter().find(|outcome| outcomes.contains(outcome)).unwrap_or(EventOutcome::Late)
    }

    /// Applies a change of one user in a pool.
    async fn apply_in(&self, pool: &Arc<Pool>, sub: &Sub, change: &Change) -> EventOutcome {
        if change.kind == ChangeKind::TokenRevoked {
            // Which tokens the refresh token belongs to, the event hides.
            return match self.users.suspect(&pool.id, sub, self.since(change)).await {
                Ok(true) => EventOutcome::Suspect,
                Ok(false) => EventOutcome::Unused,
                Err(_) => EventOutcome::Retried,
            };
        }
        let told = told(change);
        // Before the change is announced: a read that follows must not get the groups of an older token.
        let groups = match change.kind {
            ChangeKind::Groups => self.outdate_groups(pool, Some(sub), change).await,
            _ => EventOutcome::Late,
        };
        let invalidated = match invalidation(change.kind) {
            Some(Invalidation::Erase) => {
                match erasure::erase(&self.users, &self.audit, change, &pool.id, sub, told).await {
                    true => EventOutcome::Applied,
                    false => EventOutcome::Retried,
                }
            }
            Some(invalidation) => self.invalidate(pool, sub, (invalidation, told), self.since(change)).await,
            None => EventOutcome::Late,
        };
        // Also if the invalidation has to be retried: the tokens must not wait for that.
        let next = match change.kind {
            ChangeKind::Groups => groups,
            kind if cause(kind).is_some_and(|cause| self.revoke_on.contains(&cause)) => {
                self.revoke(pool, sub, change).await
            }
            ChangeKind::SignedOut => self.announce(pool, sub, told).await,
            _ => invalidated,
        };
        match (invalidated, next) {
            (EventOutcome::Retried, _) | (_, EventOutcome::Late) => invalidated,
            _ => next,
        }
    }

    /// Marks as outdated the groups of one user, or of all users of a pool, that are from before the
    /// change.
    async fn outdate_groups(&self, pool: &Arc<Pool>, sub: Option<&Sub>, change: &Change) -> EventOutcome {
        let (pool, sub, at) = (pool.id.clone(), sub.cloned(), self.since(change));
        match self.users.note_group_change(GroupChange { pool, sub, at }).await {
            Ok(true) => EventOutcome::Applied,
            Ok(false) => EventOutcome::Late,
            Err(_) => EventOutcome::Retried,
        }
    }

    /// Returns from when on the change is certainly in what is read from Cognito.
    fn since(&self, change: &Change) -> SystemTime {
        change.at + RESOLUTION + self.skew
    }

    /// Refuses the tokens that were issued until the change.
    async fn revoke(&self, pool: &Arc<Pool>, sub: &Sub, change: &Change) -> EventOutcome {
        let revoked = self.users.revoke(change.revocation(&pool.id, sub)).await;
        revoked.map_or(EventOutcome::Retried, |_| EventOutcome::Applied)
    }

    /// Invalidates what was fetched before `since`, and reports the change to the user's watchers.
    async fn invalidate(
        &self,
        pool: &Arc<Pool>,
        sub: &Sub,
        (invalidation, told): (Invalidation, changes::Change),
        since: SystemTime,
    ) -> EventOutcome {
        // A fetch by `ListUsers` may have read an older state, whenever it began.
        let is_listed = pool.bare_sub == BareSubLookup::ListUsers;
        if !is_listed && self.is_late(pool, sub, invalidation, since) {
            return self.announce(pool, sub, told).await;
        }
        let (now, age) = (SystemTime::now(), age(since));
        let invalidation = match invalidation {
            Invalidation::Expire if !is_listed && age > Duration::ZERO => Invalidation::ExpireOlder(age),
            other => other,
        };
        if self.users.invalidate_for(&pool.id, sub, invalidation, told).await.is_err() {
            return EventOutcome::Retried;
        }
        if self.users.shares_invalidations() {
            self.applied.note(&pool.id, sub, since.min(now));
        }
        if is_listed && invalidation == Invalidation::Expire {
            self.repeats.add(&pool.id, sub);
        }
        EventOutcome::Applied
    }

    /// Reports the change to the user's watchers only: the cached entry is newer than the change,
    /// but their copies may be older.
    async fn announce(&self, pool: &Arc<Pool>, sub: &Sub, told: changes::Change) -> EventOutcome {
        let announced = self.users.announce(&pool.id, sub, told).await;
        announced.map_or(EventOutcome::Retried, |()| EventOutcome::Late)
    }

    /// Returns whether an invalidation of what was fetched before `since` has nothing to do.
    fn is_late(&self, pool: &Pool, sub: &Sub, invalidation: Invalidation, since: SystemTime) -> bool {
        let has_only_younger = || self.users.has_only_younger(&pool.id, sub, age(since));
        match invalidation {
            // No later fetch finds the user, and its tokens must go too.
            Invalidation::Erase => false,
            // An earlier one may have left a stale entry, which must not be served.
            Invalidation::Forget => has_only_younger(),
            Invalidation::Expire | Invalidation::ExpireOlder(_) => {
                self.applied.covers(&pool.id, sub, since) || has_only_younger()
            }
        }
    }
}

/// Returns how long ago a time was; zero if it is still to come.
fn age(time: SystemTime) -> Duration {
    time.elapsed().unwrap_or_default()
}

/// Returns how a change invalidates the user; none if it changes nothing that is cached. A sign-out
/// changes which tokens are valid.
pub(super) fn invalidation(kind: ChangeKind) -> Option<Invalidation> {
    match kind {
        ChangeKind::Attributes
        | ChangeKind::Created
        | ChangeKind::Credentials
        | ChangeKind::Enabled
        | ChangeKind::Groups
        | ChangeKind::Status => Some(Invalidation::Expire),
        // Never served stale: an outage must not bring a disabled user back.
        ChangeKind::Disabled => Some(Invalidation::Forget),
        ChangeKind::Erased => Some(Invalidation::Erase),
        ChangeKind::SignedOut | ChangeKind::TokenRevoked => None,
    }
}

/// Returns the word of `revocation.on` for a change; none if it never revokes tokens.
pub(super) fn cause(kind: ChangeKind) -> Option<RevocationCause> {
    match kind {
        ChangeKind::Credentials => Some(RevocationCause::Password),
        ChangeKind::Disabled => Some(RevocationCause::Disabled),
        ChangeKind::Erased => Some(RevocationCause::Erased),
        ChangeKind::SignedOut => Some(RevocationCause::SignedOut),
        ChangeKind::Attributes
        | ChangeKind::Created
        | ChangeKind::Enabled
        | ChangeKind::Groups
        | ChangeKind::Status
        | ChangeKind::TokenRevoked => None,
    }
}

/// Returns the change that the user's watchers get. A revocation is reported when the tokens are
/// revoked.
fn told(change: &Change) -> changes::Change {
    let kind = match change.kind {
        ChangeKind::Attributes => changes::ChangeKind::Attributes,
        ChangeKind::Created => changes::ChangeKind::Created,
        ChangeKind::Credentials => changes::ChangeKind::Credentials,
        ChangeKind::Disabled => changes::ChangeKind::Disabled,
        ChangeKind::Enabled => changes::ChangeKind::Enabled,
        ChangeKind::Erased => changes::ChangeKind::Erased,
        ChangeKind::Groups => changes::ChangeKind::Groups,
        ChangeKind::SignedOut | ChangeKind::TokenRevoked => changes::ChangeKind::SignedOut,
        ChangeKind::Status => changes::ChangeKind::Status,
    };
    changes::Change { changed_at: Some(change.at), ..changes::Change::seen(kind, SystemTime::now()) }
}

// CloudTrail gives the time of a change in whole seconds, rounded down.
const RESOLUTION: Duration = Duration::from_secs(1);
// One more than the queue of `deploy/events` has until the dead-letter queue. A queue without one must
// not keep a message that cannot be read until its retention ends.
const MAX_RECEIVES: u32 = 6;

#[cfg(test)]
mod tests;
