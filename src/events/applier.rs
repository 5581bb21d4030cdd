//! Applies messages to the users that are cached.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures_util::future::join_all;

use super::{
    applied::Applied,
    change::{Change, ChangeKind, ChangedPools, Ignored, Reason, Subject},
    message,
    notices::Notices,
    repeats::Repeats,
};
use crate::{
    auth::{Revocation, RevokedTokens},
    config::RevocationCause,
    pool::{BareSubLookup, Pool, Pools},
    telemetry::metrics::events::{EventMetrics, EventOutcome},
    user::Sub,
    users::{Invalidation, Users},
};

/// Applies messages. None of them causes a call to Cognito, and any order and repetition of them ends
/// in the same state.
#[derive(Debug)]
pub(super) struct Applier {
    pub(super) users: Users,
    pub(super) pools: Pools,
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
        let is_served = |id: &_| self.pools.iter().any(|pool| pool.id == *id);
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
        let pools: Vec<_> = self.pools.iter().filter(|pool| change.is_in(pool)).collect();
        if pools.is_empty() {
            return EventOutcome::Foreign;
        }
        // The members of a group are known to Cognito only, and an event causes no call to it.
        let Subject::User(sub) = &change.subject else { return EventOutcome::Unused };
        let outcomes = join_all(pools.into_iter().map(|pool| self.apply_in(pool, sub, change))).await;
        let by_weight =
            [EventOutcome::Retried, EventOutcome::Applied, EventOutcome::Suspect, EventOutcome::Unused];
        by_weight.into_iter().find(|outcome| outcomes.contains(outcome)).unwrap_or(EventOutcome::Late)
    }

    /// Applies a change of one user in a pool.
    async fn apply_in(&self, pool: &Arc<Pool>, sub: &Sub, change: &Change) -> EventOutcome {
        let since = change.at + RESOLUTION + self.skew;
        if change.kind == ChangeKind::TokenRevoked {
            // Which tokens the refresh token belongs to, the event hides.
            return match self.users.suspect(&pool.id, sub, since).await {
                Ok(true) => EventOutcome::Suspect,
                Ok(false) => EventOutcome::Unused,
                Err(_) => EventOutcome::Retried,
            };
        }
        let invalidated = match invalidation(change.kind) {
            Some(invalidation) => self.invalidate(pool, sub, invalidation, since).await,
            None => EventOutcome::Late,
        };
        let revokes = cause(change.kind).is_some_and(|cause| self.revoke_on.contains(&cause));
        if !revokes || invalidated == EventOutcome::Retried {
            return invalidated;
        }
        let tokens = RevokedTokens::OfUser(sub.clone());
        let revocation = Revocation { pool: pool.id.clone(), tokens, at: change.at };
        let revoked = self.users.revoke(revocation).await;
        revoked.map_or(EventOutcome::Retried, |_| EventOutcome::Applied)
    }

    /// Invalidates what was fetched before `since`.
    async fn invalidate(
        &self,
        pool: &Arc<Pool>,
        sub: &Sub,
        invalidation: Invalidation,
        since: SystemTime,
    ) -> EventOutcome {
        // A fetch by `ListUsers` may have read an older state, whenever it began.
        let is_listed = pool.bare_sub == BareSubLookup::ListUsers;
        if !is_listed && self.is_late(pool, sub, invalidation, since) {
            return EventOutcome::Late;
        }
        let began = SystemTime::now();
        if self.users.invalidate(&pool.id, sub, invalidation).await.is_err() {
            return EventOutcome::Retried;
        }
        if self.users.shares_invalidations() {
            self.applied.note(&pool.id, sub, began);
        }
        if is_listed && invalidation == Invalidation::Expire {
            self.repeats.add(&pool.id, sub);
        }
        EventOutcome::Applied
    }

    /// Returns whether an invalidation of what was fetched before `since` has nothing to do.
    fn is_late(&self, pool: &Pool, sub: &Sub, invalidation: Invalidation, since: SystemTime) -> bool {
        match invalidation {
            // No later fetch finds the user, and its tokens must go too.
            Invalidation::Erase => false,
            // An earlier one may have left a stale entry, which must not be served.
            Invalidation::Forget => self.users.has_only_newer(&pool.id, sub, since),
            Invalidation::Expire => {
                self.applied.covers(&pool.id, sub, since) || self.users.has_only_newer(&pool.id, sub, since)
            }
        }
    }
}

impl Change {
    fn is_in(&self, pool: &Pool) -> bool {
        match &self.pools {
            ChangedPools::One(id) => pool.id == *id,
            ChangedPools::OfRegion(region) => pool.region == **region,
        }
    }
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

// CloudTrail gives the time of a change in whole seconds, rounded down.
const RESOLUTION: Duration = Duration::from_secs(1);
// One more than the queue of `deploy/events` has until the dead-letter queue. A queue without one must
// not keep a message that cannot be read until its retention ends.
const MAX_RECEIVES: u32 = 6;

#[cfg(test)]
mod tests;
