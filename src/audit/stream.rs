//! The records of a stream of changes: one for each change, and one for its end.

use std::{sync::Arc, time::SystemTime};

use super::{Recorder, WriteAck, names::AttributeNames, record::Record, recorder::Queue};
use crate::{
    auth::{Address, Principal},
    changes::ChangeKinds,
    pool::PoolId,
    user::Sub,
};

/// Records what is sent on one stream. Dropping it records that the caller cancelled.
#[derive(Debug)]
pub struct StreamRecorder {
    /// None once the stream has ended, and if the audit trail is off.
    queue: Option<Queue>,
    method: &'static str,
    request_id: Box<str>,
    peer: Address,
    caller: Arc<str>,
    principal: Principal,
    changes: u64,
}

impl Recorder {
    /// Begins to record a stream that was opened by the call with this id.
    pub fn stream(
        &self,
        method: &'static str,
        request_id: &str,
        peer: Address,
        caller: Arc<str>,
        principal: Principal,
    ) -> StreamRecorder {
        let (queue, request_id) = (self.0.clone(), request_id.into());
        StreamRecorder { queue, method, request_id, peer, caller, principal, changes: 0 }
    }
}

impl StreamRecorder {
    /// Records a change that is about to be sent. If records are required, it must wait for the
    /// acknowledgement.
    pub fn change(&mut self, pool: &PoolId, sub: &Sub, kinds: ChangeKinds) -> Option<WriteAck> {
        self.changes += 1;
        let queue = self.queue.as_ref()?;
        let sub_hash = Some(queue.shared.key.hash(pool, sub));
        let none = AttributeNames::default();
        let record =
            Record { pool: Some(pool.as_str()), sub_hash, kinds: Some(kinds), ..self.record(&none, "sent") };
        queue.push([record].into_iter(), true)
    }

    /// Records the end of the stream, for this reason.
    pub fn close(&mut self, reason: &'static str) {
        if let Some(queue) = self.queue.take() {
            let none = AttributeNames::default();
            let record = Record { changes: Some(self.changes), ..self.record(&none, reason) };
            drop(queue.push([record].into_iter(), false));
        }
    }

    fn record<'r>(&'r self, none: &'r AttributeNames, outcome: &'static str) -> Record<'r> {
        Record {
            peer: Some(self.peer),
            caller: Some(&self.caller),
            principal: Some(&self.principal),
            ..Record::new(SystemTime::now(), (self.method, &self.request_id), none, outcome)
        }
    }
}

impl Drop for StreamRecorder {
    fn drop(&mut self) {
        self.close("cancelled");
    }
}
