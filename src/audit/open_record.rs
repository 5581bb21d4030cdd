//! The record of one call while it is under way: opened before anything is known of it, and closed exactly once.

use std::{
    mem,
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

use super::{
    Recorder,
    context::{AuditContext, PendingRecord, RecordScope},
    record::{Record, RecordTime},
    recorder::{Queue, WriteAck},
};
use crate::pool::PoolId;

/// The open record of a call. Dropped, it says that the caller went away; that is not waited for.
#[derive(Debug)]
pub struct OpenRecord<'a> {
    recorder: &'a Recorder,
    method: &'static str,
    context: AuditContext,
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

impl Recorder {
    /// Opens the record of a call.
    pub fn open<'a>(&'a self, method: &'static str, request_id: &'a str) -> OpenRecord<'a> {
        let context = AuditContext(Some(Mutex::default()));
        OpenRecord { recorder: self, method, context, request_id, is_closed: false }
    }

    /// Opens none, for a call that is about nobody.
    pub fn open_unrecorded<'a>(&'a self, method: &'static str, request_id: &'a str) -> OpenRecord<'a> {
        OpenRecord { recorder: self, method, context: AuditContext(None), request_id, is_closed: true }
    }
}

impl OpenRecord<'_> {
    /// Returns where what is learned of the call is noted.
    pub fn context(&self) -> &AuditContext {
        &self.context
    }

    /// Closes the record. The receipt tells when it is written, where that is required.
    pub fn close(mut self, outcome: Outcome) -> WriteAck {
        self.finish(outcome)
    }

    fn finish(&mut self, outcome: Outcome) -> WriteAck {
        let open = !mem::replace(&mut self.is_closed, true);
        let Some(pending) = self.context.0.as_mut().filter(|_| open) else { return WriteAck::Buffered };
        let pending = mem::take(pending.get_mut().unwrap_or_else(PoisonError::into_inner));
        let Some(queue) = &self.recorder.queue else { return WriteAck::Buffered };
        let time = RecordTime::of(SystemTime::now());
        let records = pending.scopes(outcome).map(|scope| self.record(queue, &pending, scope, time));
        queue.push(records, outcome != Outcome::Cancelled)
    }

    fn record<'a>(
        &'a self,
        queue: &'a Queue,
        pending: &'a PendingRecord,
        scope: RecordScope<'a>,
        time: RecordTime,
    ) -> Record<'a> {
        let (shared, outcome) = (&queue.shared, scope.outcome);
        // Of one that is not configured nobody has a record, and its name is whatever the caller wrote.
        let pool = scope.pool.map_or_else(|| shared.pools.only(), |id| shared.pools.by_id(id));
        let pool = pool.map(|pool| &pool.id).filter(|_| scope.sub.is_some());
        let released = scope.released.filter(|_| outcome == Outcome::Answered);
        let attributes = released.map_or(&pending.asked, |(names, _)| names);
        Record {
            time,
            request_id: self.request_id,
            method: self.method,
            caller: pending.caller.as_deref(),
            pool: pool.map(PoolId::as_str),
            sub_hash: pool.zip(scope.sub).map(|(pool, sub)| shared.key.hash(pool, sub)),
            users: scope.users,
            attributes,
            freshness: released.map(|(_, freshness)| *freshness),
            erasure: pending.erasure.as_ref(),
            outcome: match outcome {
                Outcome::Answered if released.is_some() => "released",
                Outcome::Answered => "answered",
                Outcome::Cancelled => "cancelled",
                Outcome::Failed(reason) | Outcome::Refused(reason) => reason,
            },
        }
    }
}

impl Drop for OpenRecord<'_> {
    fn drop(&mut self) {
        drop(self.finish(Outcome::Cancelled));
    }
}
