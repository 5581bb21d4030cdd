//! The record of one call while it is under way: opened before anything is known of it, and closed exactly once.

use std::{
    mem,
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

use super::{
    Ledger,
    ledger::{Desk, Receipt},
    notes::{Draft, Notes, Part},
    record::{Record, Timestamp},
};
use crate::{pool::PoolId, telemetry::metrics::callers::Ending};

/// The open record of a call. Dropped, it says that the caller went away; that is not waited for.
#[derive(Debug)]
pub struct Entry<'a> {
    ledger: &'a Ledger,
    method: &'static str,
    notes: Notes,
    request_id: &'a str,
    is_closed: bool,
}

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

impl Ledger {
    /// Opens the record of a call.
    pub fn open<'a>(&'a self, method: &'static str, request_id: &'a str) -> Entry<'a> {
        let notes = Notes(Some(Mutex::default()));
        Entry { ledger: self, method, notes, request_id, is_closed: false }
    }

    /// Opens none, for a call that is about nobody.
    pub fn ignore<'a>(&'a self, method: &'static str, request_id: &'a str) -> Entry<'a> {
        Entry { ledger: self, method, notes: Notes(None), request_id, is_closed: true }
    }
}

impl Entry<'_> {
    /// Returns where what is learned of the call is noted.
    pub fn notes(&self) -> &Notes {
        &self.notes
    }

    /// Closes the record. The receipt tells when it is written, where that is required.
    pub fn close(mut self, outcome: Outcome) -> Receipt {
        self.settle(outcome)
    }

    fn settle(&mut self, outcome: Outcome) -> Receipt {
        let open = !mem::replace(&mut self.is_closed, true);
        let Some(draft) = self.notes.0.as_mut().filter(|_| open) else { return Receipt::Entered };
        let draft = mem::take(draft.get_mut().unwrap_or_else(PoisonError::into_inner));
        self.ledger.tally.count(draft.caller.as_deref(), outcome.ending());
        let Some(desk) = &self.ledger.desk else { return Receipt::Entered };
        let time = Timestamp::of(SystemTime::now());
        let records = draft.parts(outcome).map(|part| self.record(desk, &draft, part, time));
        desk.enter(records, outcome != Outcome::Cancelled)
    }

    fn record<'a>(&'a self, desk: &'a Desk, draft: &'a Draft, part: Part<'a>, time: Timestamp) -> Record<'a> {
        let (office, outcome) = (&desk.office, part.outcome);
        // Of one that is not configured nobody has a record, and its name is whatever the caller wrote.
        let pool = part.pool.map_or_else(|| office.pools.only(), |id| office.pools.by_id(id));
        let pool = pool.map(|pool| &pool.id).filter(|_| part.sub.is_some());
        let released = part.released.filter(|_| outcome == Outcome::Answered);
        let attributes = released.map_or(&draft.asked, |(names, _)| names);
        Record {
            time,
            request_id: self.request_id,
            method: self.method,
            caller: draft.caller.as_deref(),
            pool: pool.map(PoolId::as_str),
            sub_hash: pool.zip(part.sub).map(|(pool, sub)| office.key.hash(pool, sub)),
            users: part.users,
            attributes,
            freshness: released.map(|(_, freshness)| *freshness),
            erasure: draft.erasure.as_ref(),
            outcome: match outcome {
                Outcome::Answered if released.is_some() => "released",
                Outcome::Answered => "answered",
                Outcome::Cancelled => "cancelled",
                Outcome::Failed(reason) | Outcome::Refused(reason) => reason,
            },
        }
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        drop(self.settle(Outcome::Cancelled));
    }
}
