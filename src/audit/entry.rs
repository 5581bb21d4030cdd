//! The record of one call while it is under way: opened before anything is known of it, and closed exactly once.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use super::{
    Ledger,
    ledger::{Desk, Receipt},
    record::{Names, Record},
};
use crate::{
    auth::{Caller, Person},
    freshness::Freshness,
    pool::PoolId,
    query::{Query, Target},
    telemetry::metrics::callers::Ending,
    user::Sub,
};

/// The open record of a call. Dropped, it says that the caller went away; that is not waited for.
#[derive(Debug)]
pub struct Entry<'a> {
    ledger: &'a Ledger,
    method: &'static str,
    notes: Notes,
    request_id: &'a str,
    is_closed: bool,
}

/// Where what is learned of a call is noted for its record, which is all that it is for; cheap to clone.
#[derive(Clone, Debug)]
pub struct Notes(Option<Arc<Mutex<Draft>>>);

/// How a call ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// It was answered: with a user's attributes if a release was noted.
    Answered,
    /// The caller went away, and got nothing that we know of.
    Cancelled,
    /// It failed for no fault of its caller, for this published reason.
    Failed(&'static str),
    /// It was refused, for this published reason.
    Refused(&'static str),
}

impl Outcome {
    fn ending(self) -> Ending {
        match self {
            Self::Answered => Ending::Answered,
            Self::Cancelled => Ending::Cancelled,
            Self::Failed(_) => Ending::Failed,
            Self::Refused(_) => Ending::Refused,
        }
    }
}

#[derive(Debug, Default)]
struct Draft {
    caller: Option<Arc<str>>,
    pool: Option<PoolId>,
    sub: Option<Sub>,
    asked: Names,
    released: Option<(Names, Freshness)>,
    receipt_id: Option<Box<str>>,
    items: Vec<Item>,
}

/// What became of one user of several.
#[derive(Debug)]
struct Item {
    pool: Option<PoolId>,
    sub: Sub,
    released: Result<(Names, Freshness), &'static str>,
}

impl Ledger {
    /// Opens the record of a call.
    pub fn open<'a>(&'a self, method: &'static str, request_id: &'a str) -> Entry<'a> {
        let notes = Notes(Some(Arc::default()));
        Entry { ledger: self, method, notes, request_id, is_closed: false }
    }

    /// Opens none, for a call that is about nobody.
    pub fn ignore<'a>(&'a self, method: &'static str, request_id: &'a str) -> Entry<'a> {
        Entry { ledger: self, method, notes: Notes(None), request_id, is_closed: true }
    }
}

impl Entry<'_> {
    /// Returns where what is learned of the call is noted.
    pub fn notes(&self) -> Notes {
        self.notes.clone()
    }

    /// Closes the record. The receipt tells when it is written, where that is required.
    pub fn close(mut self, outcome: Outcome) -> Receipt {
        self.settle(outcome)
    }

    fn settle(&mut self, outcome: Outcome) -> Receipt {
        let open = !std::mem::replace(&mut self.is_closed, true);
        let Some(draft) = self.notes.0.as_ref().filter(|_| open) else { return Receipt::Entered };
        let draft = std::mem::take(&mut *draft.lock().unwrap_or_else(PoisonError::into_inner));
        self.ledger.tally.count(draft.caller.as_deref(), outcome.ending());
        match &self.ledger.desk {
            None => Receipt::Entered,
            Some(desk) if outcome == Outcome::Answered && !draft.items.is_empty() => {
                self.enter_items(desk, draft)
            }
            Some(desk) => self.enter(desk, &draft, outcome),
        }
    }

    /// Each user has a record of its own. They are written in the order in which they are entered.
    fn enter_items(&self, desk: &Desk, mut draft: Draft) -> Receipt {
        let mut last = Receipt::Entered;
        for Item { pool, sub, released } in std::mem::take(&mut draft.items) {
            (draft.pool, draft.sub) = (pool, Some(sub));
            let outcome =
                released.as_ref().err().map_or(Outcome::Answered, |reason| Outcome::Refused(reason));
            draft.released = released.ok();
            match self.enter(desk, &draft, outcome) {
                Receipt::Lost => return Receipt::Lost,
                receipt => last = receipt,
            }
        }
        last
    }

    fn enter(&self, desk: &Desk, draft: &Draft, outcome: Outcome) -> Receipt {
        let (office, pool) = (&desk.office, draft.pool.as_ref());
        // Of one that is not configured nobody has a record, and its name is whatever the caller wrote.
        let pool = pool.map_or_else(|| office.pools.only(), |id| office.pools.by_id(id)).map(|pool| &pool.id);
        let pool = pool.filter(|_| draft.sub.is_some());
        let released = draft.released.as_ref().filter(|_| outcome == Outcome::Answered);
        let attributes = released.map_or(&draft.asked, |(names, _)| names);
        let record = Record {
            time: SystemTime::now(),
            request_id: self.request_id,
            method: self.method,
            caller: draft.caller.as_deref(),
            pool: pool.map(PoolId::as_str),
            sub_hash: pool.zip(draft.sub.as_ref()).map(|(pool, sub)| office.key.hash(pool, sub)),
            attributes,
            attributes_left_out: attributes.left_out,
            freshness: released.map(|(_, freshness)| (*freshness).into()),
            receipt_id: draft.receipt_id.as_deref(),
            outcome: match outcome {
                Outcome::Answered if released.is_some() => "released",
                Outcome::Answered => "answered",
                Outcome::Cancelled => "cancelled",
                Outcome::Failed(reason) | Outcome::Refused(reason) => reason,
            },
        };
        desk.enter(&record, outcome != Outcome::Cancelled)
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        drop(self.settle(Outcome::Cancelled));
    }
}

impl Notes {
    /// Notes who asks, by the name of the rule about it if there is one.
    pub fn caller(&self, name: Option<&Arc<str>>) {
        self.note(|draft| draft.caller = name.map(Arc::clone));
    }

    /// Notes the user whose token was presented, if one was, where that says who is asked about.
    pub fn bearer(&self, caller: &Caller) {
        if let Some(Person { pool, sub, .. }) = caller.persons().next() {
            self.note(|draft| draft.about(Some(&pool.id), Some(sub)));
        }
    }

    /// Notes what is asked, and about whom if no token said so.
    pub fn query(&self, query: &Query) {
        self.note(|draft| {
            draft.about(query.pool.as_ref(), query.sub.as_ref());
            let groups = query.include_groups.then_some("groups");
            draft.asked = Names::asked(query.attributes.named().chain(groups));
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

    /// Notes what an erasure is called in its receipt.
    pub fn receipt(&self, id: &str) {
        self.note(|draft| draft.receipt_id = Some(id.into()));
    }

    /// Notes what became of one user of several: what is to leave, or the reason of the refusal.
    pub fn item<'n>(
        &self,
        pool: Option<&PoolId>,
        sub: &Sub,
        released: Result<(impl Iterator<Item = &'n str>, Freshness), &'static str>,
    ) {
        let released = released.map(|(names, freshness)| (Names::released(names), freshness));
        self.note(|draft| {
            // Where none is named it is that of the token, and without one the only pool.
            let pool = pool.or(draft.pool.as_ref()).cloned();
            draft.items.push(Item { pool, sub: sub.clone(), released });
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
}
