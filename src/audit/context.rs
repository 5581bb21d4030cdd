//! What is learned of a call while it is under way, for its record and nothing else.

use std::sync::{Arc, Mutex, PoisonError};

use super::{names::AttributeNames, open_record::Outcome, record::Erasure};
use crate::{
    auth::{Caller, TokenUser},
    freshness::Freshness,
    pool::PoolId,
    query::{BatchQuery, Query, Target},
    user::Sub,
};

/// Where what is learned of a call is noted for its record, which is all that it is for.
#[derive(Debug)]
pub struct AuditContext(pub(super) Option<Mutex<PendingRecord>>);

#[derive(Debug, Default)]
pub(super) struct PendingRecord {
    pub(super) caller: Option<Arc<str>>,
    pub(super) asked: AttributeNames,
    pub(super) erasure: Option<Erasure>,
    pool: Option<PoolId>,
    sub: Option<Sub>,
    released: Option<Release>,
    batch_pool: Option<PoolId>,
    batch: Vec<(Sub, UserOutcome)>,
}

/// What is to leave: its names, and how fresh it is.
pub(super) type Release = (AttributeNames, Freshness);

/// What became of one user of several.
#[derive(Debug)]
enum UserOutcome {
    /// The caller was not given leave to ask about the user: for this reason, or for that of the whole call.
    Denied(Option<&'static str>),
    /// It was, and nothing more is known.
    Pending,
    /// It is refused, for this reason.
    Refused(&'static str),
    /// It is to leave.
    Released(Release),
}

impl UserOutcome {
    /// Replaces what was known until now, unless there was no leave to ask.
    fn update(&mut self, now: Self) {
        if !matches!(self, Self::Denied(_)) {
            *self = now;
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
    /// How many users it is about that it does not name.
    pub(super) users: usize,
}

impl AuditContext {
    /// AuditContext who asks, by the name of the rule about it if there is one.
    pub fn set_caller(&self, name: Option<&Arc<str>>) {
        self.update(|pending| pending.caller = name.map(Arc::clone));
    }

    /// AuditContext the user whose token was presented, if one was, where that says who is asked about.
    pub fn set_token_user(&self, caller: &Caller) {
        if let Some(TokenUser { pool, sub, .. }) = caller.token_users().next() {
            self.update(|pending| pending.about(Some(&pool.id), Some(sub)));
        }
    }

    /// AuditContext what is asked, and about whom if no token said so.
    pub fn set_query(&self, query: &Query) {
        self.update(|pending| {
            pending.about(query.pool.as_ref(), query.sub.as_ref());
            pending.asked = AttributeNames::asked(query);
        });
    }

    /// AuditContext whom an administrator asks about, whoever's token came with the request.
    pub fn set_target(&self, target: &Target) {
        self.update(|pending| (pending.pool, pending.sub) = (target.pool.clone(), Some(target.sub.clone())));
    }

    /// AuditContext the names of what is to leave, and how fresh it is.
    pub fn set_release<'n>(&self, names: impl Iterator<Item = &'n str>, freshness: Freshness) {
        self.update(|pending| pending.released = Some((AttributeNames::released(names), freshness)));
    }

    /// AuditContext what was erased.
    pub fn set_erasure(&self, erasure: Erasure) {
        self.update(|pending| pending.erasure = Some(erasure));
    }

    /// AuditContext what is asked about several users, none of whom there is leave to ask about yet.
    pub fn set_batch(&self, batch: &BatchQuery) {
        self.set_query(&batch.query);
        self.update(|pending| {
            // Where none is named it is that of the token, and without one the only pool.
            pending.batch_pool = batch.query.pool.as_ref().or(pending.pool.as_ref()).cloned();
            pending.batch = batch.subs.iter().map(|sub| (sub.clone(), UserOutcome::Denied(None))).collect();
        });
    }

    /// AuditContext about whom of the several, in their order, there is leave to ask; about the others the reason why not.
    pub fn set_denials(&self, denials: impl Iterator<Item = Option<&'static str>>) {
        self.update(|pending| {
            for ((_, end), denial) in pending.batch.iter_mut().zip(denials) {
                *end = denial.map_or(UserOutcome::Pending, |reason| UserOutcome::Denied(Some(reason)));
            }
        });
    }

    /// AuditContext what became of the several, in their order: what is to leave, or the reason of the refusal.
    pub fn set_user_outcomes<'n, N: Iterator<Item = &'n str>>(
        &self,
        outcomes: impl Iterator<Item = Result<(N, Freshness), &'static str>>,
    ) {
        let outcomes = outcomes.map(|outcome| match outcome {
            Ok((names, freshness)) => UserOutcome::Released((AttributeNames::released(names), freshness)),
            Err(reason) => UserOutcome::Refused(reason),
        });
        self.update(|pending| {
            pending.batch.iter_mut().zip(outcomes).for_each(|((_, end), now)| end.update(now))
        });
    }

    /// AuditContext that the user in this place of the several is refused after all.
    pub fn set_refused(&self, place: usize, reason: &'static str) {
        self.update(|pending| {
            if let Some((_, end)) = pending.batch.get_mut(place) {
                end.update(UserOutcome::Refused(reason));
            }
        });
    }

    fn update(&self, write: impl FnOnce(&mut PendingRecord)) {
        if let Some(pending) = &self.0 {
            write(&mut pending.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }
}

impl PendingRecord {
    fn about(&mut self, pool: Option<&PoolId>, sub: Option<&Sub>) {
        if self.sub.is_none() {
            (self.pool, self.sub) = (pool.cloned(), sub.cloned());
        }
    }

    /// Returns what there is to record of a call that ended so. Each user of several about whom there was leave to ask has
    /// a record, for it may have been fetched; all the others have one together, for they cost whoever makes them up
    /// nothing.
    pub(super) fn scopes(&self, outcome: Outcome) -> impl Iterator<Item = RecordScope<'_>> {
        let (pool, sub) = (self.pool.as_ref(), self.sub.as_ref());
        let whole = RecordScope { pool, sub, released: self.released.as_ref(), outcome, users: 0 };
        let only = self.batch.is_empty().then_some(whole);
        let named = self.batch.iter().filter_map(move |user| self.named(user, outcome));
        let mut denied = self.batch.iter().filter_map(move |(_, end)| match end {
            UserOutcome::Denied(reason) => Some(reason.map_or(outcome, Outcome::Refused)),
            _ => None,
        });
        let denied = denied.next().map(|outcome| RecordScope { outcome, users: 1 + denied.count(), ..whole });
        only.into_iter().chain(named).chain(denied)
    }

    fn named<'d>(&'d self, (sub, end): &'d (Sub, UserOutcome), outcome: Outcome) -> Option<RecordScope<'d>> {
        let (released, outcome) = match (end, outcome) {
            (UserOutcome::Denied(_), _) => return None,
            (UserOutcome::Released(released), _) => (Some(released), outcome),
            (UserOutcome::Refused(reason), Outcome::Answered) => (None, Outcome::Refused(reason)),
            (UserOutcome::Pending | UserOutcome::Refused(_), _) => (None, outcome),
        };
        Some(RecordScope { pool: self.batch_pool.as_ref(), sub: Some(sub), released, outcome, users: 0 })
    }
}
