//! The audit record of an in-flight call.

use std::{
    mem,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use super::{
    Recorder,
    names::AttributeNames,
    pending::{Outcome, PendingRecord, RecordScope, UserOutcome},
    record::Record,
    recorder::{Queue, WriteAck},
};
use crate::{
    auth::{Address, Caller, Principal, Revocation, TokenUser},
    freshness::Freshness,
    pool::{PoolId, Pools},
    proto::EraseUserResponse,
    query::{BatchQuery, Query, Target},
};

/// Collects the audit record of an in-flight call. Dropping it records a cancellation, without
/// waiting for the sink.
#[derive(Debug)]
pub struct OpenRecord<'a> {
    /// None once the record is closed, and for a call without a record.
    queue: Option<&'a Queue>,
    method: &'static str,
    request_id: &'a str,
    peer: Option<Address>,
    /// None for those in use when it is closed.
    pools: Option<&'a Pools>,
    pending: Mutex<PendingRecord>,
}

impl Recorder {
    /// Opens the record of a call, or one that records nothing if the call is not about a user.
    pub fn open<'a>(
        &'a self,
        method: &'static str,
        request_id: &'a str,
        is_about_user: bool,
    ) -> OpenRecord<'a> {
        let queue = self.0.as_ref().filter(|_| is_about_user);
        OpenRecord { queue, method, request_id, peer: None, pools: None, pending: Mutex::default() }
    }
}

impl<'a> OpenRecord<'a> {
    /// Names only these pools, which the call began with: a reload may replace them before it ends.
    #[must_use]
    pub fn of_pools(mut self, pools: &'a Pools) -> Self {
        self.pools = Some(pools);
        self
    }

    /// Names the address that the call came from.
    #[must_use]
    pub fn of_peer(mut self, address: Address) -> Self {
        self.peer = Some(address);
        self
    }

    /// Sets the name of the caller's rule, none if no rule matches, and the principal that
    /// identified it.
    pub fn set_caller(&self, name: Option<&Arc<str>>, principal: Option<&Principal>) {
        self.update(|pending| {
            (pending.caller, pending.principal) = (name.map(Arc::clone), principal.cloned())
        });
    }

    /// Sets the user of the caller's access token, if it has one, as the subject.
    pub fn set_token_user(&self, caller: &Caller) {
        if let Some(TokenUser { pool, sub, .. }) = caller.token_users().next() {
            self.update(|pending| pending.set_subject(Some(&pool.id), Some(sub)));
        }
    }

    /// Sets the requested attributes, and the subject if no access token did.
    pub fn set_query(&self, query: &Query) {
        self.update(|pending| {
            pending.set_subject(query.pool.as_ref(), query.sub.as_ref());
            pending.requested = AttributeNames::requested(query);
        });
    }

    /// Sets the subject of an administrator's request, whatever access token it has.
    pub fn set_target(&self, target: &Target) {
        self.update(|pending| (pending.pool, pending.sub) = (target.pool.clone(), Some(target.sub.clone())));
    }

    /// Sets the names and the freshness of the attributes in the response.
    pub fn set_release<'n>(&self, names: impl Iterator<Item = &'n str>, freshness: Freshness) {
        self.update(|pending| pending.released = Some((AttributeNames::released(names), freshness)));
    }

    /// Sets what was erased, as the response reports it.
    pub fn set_erasure(&self, erasure: &EraseUserResponse) {
        self.update(|pending| pending.erasure = Some(erasure.clone()));
    }

    /// Sets which tokens are revoked.
    pub fn set_revocation(&self, revocation: &Revocation) {
        self.update(|pending| pending.revocation = Some(revocation.clone()));
    }

    /// Sets the user of a watcher's access token, if it has one, and how many users are watched.
    pub fn set_watch(&self, caller: &Caller, users: usize) {
        self.set_token_user(caller);
        self.update(|pending| pending.watched = Some(users));
    }

    /// Sets what a reload of the settings changes.
    pub fn set_settings(&self, changes: &[String]) {
        self.update(|pending| pending.settings = Some(changes.to_vec()));
    }

    /// Sets the users of a batch. All of them count as denied until
    /// [`set_denials`](Self::set_denials).
    pub fn set_batch(&self, batch: &BatchQuery) {
        self.set_query(&batch.query);
        self.update(|pending| {
            // The pool of the query, else of the access token, else the only one.
            pending.batch_pool = batch.query.pool.as_ref().or(pending.pool.as_ref()).cloned();
            pending.batch = batch.subs.iter().map(|sub| (sub.clone(), UserOutcome::Denied(None))).collect();
        });
    }

    /// Sets for each user of the batch, in order, why the caller may not read it; none if the
    /// caller may.
    pub fn set_denials(&self, denials: impl Iterator<Item = Option<&'static str>>) {
        self.update(|pending| {
            for ((_, outcome), denial) in pending.batch.iter_mut().zip(denials) {
                *outcome = denial.map_or(UserOutcome::Pending, |reason| UserOutcome::Denied(Some(reason)));
            }
        });
    }

    /// Sets for each user of the batch, in order, what the response has of it, or the reason of its
    /// refusal.
    pub fn set_user_outcomes<'n, N: Iterator<Item = &'n str>>(
        &self,
        outcomes: impl Iterator<Item = Result<(N, Freshness), &'static str>>,
    ) {
        self.update(|pending| {
            for ((_, current), outcome) in pending.batch.iter_mut().zip(outcomes) {
                let release = |(names, freshness)| (AttributeNames::released(names), freshness);
                current.update(outcome.map(release).map_or_else(UserOutcome::Refused, UserOutcome::Released));
            }
        });
    }

    /// Marks the user at this position of the batch as refused.
    pub fn set_refused(&self, position: usize, reason: &'static str) {
        self.update(|pending| {
            if let Some((_, outcome)) = pending.batch.get_mut(position) {
                outcome.update(UserOutcome::Refused(reason));
            }
        });
    }

    fn update(&self, write: impl FnOnce(&mut PendingRecord)) {
        if self.queue.is_some() {
            write(&mut self.pending.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Closes the record of a call that succeeded, or failed for this reason. If records are
    /// required, the response must wait for the returned acknowledgement.
    pub fn close(mut self, outcome: Result<(), &'static str>) -> Option<WriteAck> {
        self.finish(outcome, true)
    }

    /// As [`close`](Self::close), and waits. Returns whether the record was written, where records are
    /// required.
    pub async fn close_written(self, outcome: Result<(), &'static str>) -> bool {
        match self.close(outcome) {
            Some(written) => written.await.is_ok(),
            None => true,
        }
    }

    fn finish(&mut self, outcome: Outcome, is_awaited: bool) -> Option<WriteAck> {
        let queue = self.queue.take()?;
        let pending = mem::take(self.pending.get_mut().unwrap_or_else(PoisonError::into_inner));
        let time = SystemTime::now();
        let current;
        let pools = match self.pools {
            Some(pools) => pools,
            None => {
                current = queue.shared.pools.load();
                &**current
            }
        };
        let records = pending.scopes(outcome).map(|scope| self.record(queue, pools, &pending, scope, time));
        queue.push(records, is_awaited)
    }

    fn record<'r>(
        &'r self,
        queue: &'r Queue,
        pools: &'r Pools,
        pending: &'r PendingRecord,
        scope: RecordScope<'r>,
        time: SystemTime,
    ) -> Record<'r> {
        let shared = &queue.shared;
        // A pool that is not configured is not recorded: its name is whatever the caller wrote.
        let pool = scope.pool.map_or_else(|| pools.only(), |id| pools.by_id(id));
        let pool = pool.map(|pool| &pool.id).filter(|_| scope.sub.is_some());
        let released = scope.released.filter(|_| scope.outcome.is_ok());
        let attributes = released.map_or(&pending.requested, |(names, _)| names);
        let outcome = match scope.outcome {
            Ok(()) if released.is_some() => "released",
            Ok(()) if pending.watched.is_some() => "opened",
            Ok(()) if pending.settings.is_some() => "applied",
            Ok(()) => "answered",
            Err(reason) => reason,
        };
        Record {
            peer: self.peer,
            caller: pending.caller.as_deref(),
            principal: pending.principal.as_ref(),
            pool: pool.map(PoolId::as_str),
            sub_hash: pool.zip(scope.sub).map(|(pool, sub)| shared.key.hash(pool, sub)),
            users: scope.users,
            freshness: released.map(|(_, freshness)| *freshness),
            erasure: pending.erasure.as_ref(),
            revocation: pending.revocation.as_ref(),
            settings: pending.settings.as_deref(),
            ..Record::new(time, (self.method, self.request_id), attributes, outcome)
        }
    }
}

impl Drop for OpenRecord<'_> {
    fn drop(&mut self) {
        drop(self.finish(Err("cancelled"), false));
    }
}
