//! What is learned of a call while it is under way, for its record and nothing else.

use std::sync::{Arc, Mutex, PoisonError};

use super::{entry::Outcome, names::Names, record::Erasure};
use crate::{
    auth::{Caller, TokenUser},
    freshness::Freshness,
    pool::PoolId,
    query::{BatchQuery, Query, Target},
    user::Sub,
};

/// Where what is learned of a call is noted for its record, which is all that it is for.
#[derive(Debug)]
pub struct Notes(pub(super) Option<Mutex<Draft>>);

#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) caller: Option<Arc<str>>,
    pub(super) asked: Names,
    pub(super) erasure: Option<Erasure>,
    pool: Option<PoolId>,
    sub: Option<Sub>,
    released: Option<Release>,
    batch_pool: Option<PoolId>,
    batch: Vec<(Sub, End)>,
}

/// What is to leave: its names, and how fresh it is.
pub(super) type Release = (Names, Freshness);

/// What became of one user of several.
#[derive(Debug)]
enum End {
    /// The caller was not given leave to ask about the user: for this reason, or for that of the whole call.
    Barred(Option<&'static str>),
    /// It was, and nothing more is known.
    Open,
    /// It is refused, for this reason.
    Refused(&'static str),
    /// It is to leave.
    Released(Release),
}

impl End {
    /// Replaces what was known until now, unless there was no leave to ask.
    fn settle(&mut self, now: Self) {
        if !matches!(self, Self::Barred(_)) {
            *self = now;
        }
    }
}

/// What one record of a call is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part<'d> {
    pub(super) pool: Option<&'d PoolId>,
    pub(super) sub: Option<&'d Sub>,
    pub(super) released: Option<&'d Release>,
    pub(super) outcome: Outcome,
    /// How many users it is about that it does not name.
    pub(super) users: usize,
}

impl Notes {
    /// Notes who asks, by the name of the rule about it if there is one.
    pub fn caller(&self, name: Option<&Arc<str>>) {
        self.note(|draft| draft.caller = name.map(Arc::clone));
    }

    /// Notes the user whose token was presented, if one was, where that says who is asked about.
    pub fn bearer(&self, caller: &Caller) {
        if let Some(TokenUser { pool, sub, .. }) = caller.token_users().next() {
            self.note(|draft| draft.about(Some(&pool.id), Some(sub)));
        }
    }

    /// Notes what is asked, and about whom if no token said so.
    pub fn query(&self, query: &Query) {
        self.note(|draft| {
            draft.about(query.pool.as_ref(), query.sub.as_ref());
            draft.asked = Names::asked(query);
        });
    }

    /// Notes whom an administrator asks about, whoever's token came with the request.
    pub fn target(&self, target: &Target) {
        self.note(|draft| (draft.pool, draft.sub) = (target.pool.clone(), Some(target.sub.clone())));
    }

    /// Notes the names of what is to leave, and how fresh it is.
    pub fn release<'n>(&self, names: impl Iterator<Item = &'n str>, freshness: Freshness) {
        self.note(|draft| draft.released = Some((Names::released(names), freshness)));
    }

    /// Notes what was erased.
    pub fn erasure(&self, erasure: Erasure) {
        self.note(|draft| draft.erasure = Some(erasure));
    }

    /// Notes what is asked about several users, none of whom there is leave to ask about yet.
    pub fn batch(&self, batch: &BatchQuery) {
        self.query(&batch.query);
        self.note(|draft| {
            // Where none is named it is that of the token, and without one the only pool.
            draft.batch_pool = batch.query.pool.as_ref().or(draft.pool.as_ref()).cloned();
            draft.batch = batch.subs.iter().map(|sub| (sub.clone(), End::Barred(None))).collect();
        });
    }

    /// Notes about whom of the several, in their order, there is leave to ask; about the others the reason why not.
    pub fn permits(&self, denials: impl Iterator<Item = Option<&'static str>>) {
        self.note(|draft| {
            for ((_, end), denial) in draft.batch.iter_mut().zip(denials) {
                *end = denial.map_or(End::Open, |reason| End::Barred(Some(reason)));
            }
        });
    }

    /// Notes what became of the several, in their order: what is to leave, or the reason of the refusal.
    pub fn users<'n, N: Iterator<Item = &'n str>>(
        &self,
        outcomes: impl Iterator<Item = Result<(N, Freshness), &'static str>>,
    ) {
        let outcomes = outcomes.map(|outcome| match outcome {
            Ok((names, freshness)) => End::Released((Names::released(names), freshness)),
            Err(reason) => End::Refused(reason),
        });
        self.note(|draft| draft.batch.iter_mut().zip(outcomes).for_each(|((_, end), now)| end.settle(now)));
    }

    /// Notes that the user in this place of the several is refused after all.
    pub fn refused(&self, place: usize, reason: &'static str) {
        self.note(|draft| {
            if let Some((_, end)) = draft.batch.get_mut(place) {
                end.settle(End::Refused(reason));
            }
        });
    }

    fn note(&self, write: impl FnOnce(&mut Draft)) {
        if let Some(draft) = &self.0 {
            write(&mut draft.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }
}

impl Draft {
    fn about(&mut self, pool: Option<&PoolId>, sub: Option<&Sub>) {
        if self.sub.is_none() {
            (self.pool, self.sub) = (pool.cloned(), sub.cloned());
        }
    }

    /// Returns what there is to record of a call that ended so. Each user of several about whom there was leave to ask has
    /// a record, for it may have been fetched; all the others have one together, for they cost whoever makes them up
    /// nothing.
    pub(super) fn parts(&self, outcome: Outcome) -> impl Iterator<Item = Part<'_>> {
        let (pool, sub) = (self.pool.as_ref(), self.sub.as_ref());
        let whole = Part { pool, sub, released: self.released.as_ref(), outcome, users: 0 };
        let only = self.batch.is_empty().then_some(whole);
        let named = self.batch.iter().filter_map(move |user| self.named(user, outcome));
        let mut barred = self.batch.iter().filter_map(move |(_, end)| match end {
            End::Barred(reason) => Some(reason.map_or(outcome, Outcome::Refused)),
            _ => None,
        });
        let barred = barred.next().map(|outcome| Part { outcome, users: 1 + barred.count(), ..whole });
        only.into_iter().chain(named).chain(barred)
    }

    fn named<'d>(&'d self, (sub, end): &'d (Sub, End), outcome: Outcome) -> Option<Part<'d>> {
        let (released, outcome) = match (end, outcome) {
            (End::Barred(_), _) => return None,
            (End::Released(released), _) => (Some(released), outcome),
            (End::Refused(reason), Outcome::Answered) => (None, Outcome::Refused(reason)),
            (End::Open | End::Refused(_), _) => (None, outcome),
        };
        Some(Part { pool: self.batch_pool.as_ref(), sub: Some(sub), released, outcome, users: 0 })
    }
}
