//! The data of a call's audit record, and the records made from it.

use std::sync::Arc;

use super::names::AttributeNames;
use crate::{
    auth::{Principal, Revocation},
    freshness::Freshness,
    pool::PoolId,
    proto::EraseUserResponse,
    user::Sub,
};

/// The data collected for the records of a call.
#[derive(Debug, Default)]
pub(super) struct PendingRecord {
    pub(super) caller: Option<Arc<str>>,
    pub(super) principal: Option<Principal>,
    pub(super) requested: AttributeNames,
    pub(super) erasure: Option<EraseUserResponse>,
    pub(super) revocation: Option<Revocation>,
    pub(super) pool: Option<PoolId>,
    pub(super) sub: Option<Sub>,
    pub(super) released: Option<Release>,
    pub(super) batch_pool: Option<PoolId>,
    pub(super) batch: Vec<(Sub, UserOutcome)>,
    /// What changes; only for a reload of the settings.
    pub(super) settings: Option<Vec<String>>,
    /// How many users are watched, none for all; only for a stream of changes.
    pub(super) watched: Option<usize>,
}

/// Whether the call succeeded; the error is the reason of a failure, or that the caller cancelled.
pub(super) type Outcome = Result<(), &'static str>;

/// The attributes in a response, and their freshness.
pub(super) type Release = (AttributeNames, Freshness);

#[derive(Debug)]
pub(super) enum UserOutcome {
    /// The caller may not read the user, for this reason; `None` means the reason of the whole
    /// call.
    Denied(Option<&'static str>),
    /// The caller may read the user; its lookup has not ended.
    Pending,
    /// The user is refused, for this reason.
    Refused(&'static str),
    /// The response has the user.
    Released(Release),
}

impl UserOutcome {
    /// Replaces the outcome, unless the user was denied.
    pub(super) fn update(&mut self, outcome: Self) {
        if !matches!(self, Self::Denied(_)) {
            *self = outcome;
        }
    }
}

/// What one record of a call is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct RecordScope<'d> {
    pub(super) pool: Option<&'d PoolId>,
    pub(super) sub: Option<&'d Sub>,
    pub(super) released: Option<&'d Release>,
    pub(super) outcome: Outcome,
    /// The number of users that the record counts but does not name.
    pub(super) users: usize,
}

impl PendingRecord {
    pub(super) fn set_subject(&mut self, pool: Option<&PoolId>, sub: Option<&Sub>) {
        if self.sub.is_none() {
            (self.pool, self.sub) = (pool.cloned(), sub.cloned());
        }
    }

    /// Returns what the records of a call are about. Each user of a batch that the caller may read
    /// has a record, because it may have been fetched. All denied users share one, or a caller
    /// could fill the sink with made-up users.
    pub(super) fn scopes(&self, outcome: Outcome) -> impl Iterator<Item = RecordScope<'_>> {
        let (pool, sub) = (self.pool.as_ref(), self.sub.as_ref());
        let whole = RecordScope {
            pool,
            sub,
            released: self.released.as_ref(),
            outcome,
            users: self.watched.unwrap_or(0),
        };
        let only = self.batch.is_empty().then_some(whole);
        let named = self.batch.iter().filter_map(move |user| self.user_scope(user, outcome));
        let mut denied = self.batch.iter().filter_map(move |(_, user)| match user {
            UserOutcome::Denied(reason) => Some(reason.map_or(outcome, Err)),
            _ => None,
        });
        let denied = denied.next().map(|outcome| RecordScope { outcome, users: 1 + denied.count(), ..whole });
        only.into_iter().chain(named).chain(denied)
    }

    fn user_scope<'d>(
        &'d self,
        (sub, user): &'d (Sub, UserOutcome),
        outcome: Outcome,
    ) -> Option<RecordScope<'d>> {
        let (released, outcome) = match (user, outcome) {
            (UserOutcome::Denied(_), _) => return None,
            (UserOutcome::Released(released), _) => (Some(released), outcome),
            (UserOutcome::Refused(reason), Ok(())) => (None, Err(*reason)),
            (UserOutcome::Pending | UserOutcome::Refused(_), _) => (None, outcome),
        };
        Some(RecordScope { pool: self.batch_pool.as_ref(), sub: Some(sub), released, outcome, users: 0 })
    }
}
