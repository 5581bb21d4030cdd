//! What the dispatcher and the handler of a stream pass to each other through tonic's server.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::{Service, closing::Closing};
use crate::{
    audit::{OpenRecord, Recorder},
    auth::{Caller, Peer, Principal},
    error::Error,
    memory::ConnectionMemory,
    policy::{CallerRule, Denied},
};

/// What the dispatcher knows of a call, in the extensions of its request.
#[derive(Debug)]
pub(super) struct WatchContext {
    /// The service when the call began.
    pub(super) service: Service,
    pub(super) peer: Peer,
    pub(super) request_id: Box<str>,
    pub(super) method: &'static str,
    pub(super) deadline: Instant,
    pub(super) recorder: Recorder,
    pub(super) memory: ConnectionMemory,
    pub(super) closing: Closing,
    pub(super) opening: Mutex<Opening>,
}

/// What the handler found out, for the dispatcher.
#[derive(Debug, Default)]
pub(super) struct Opening {
    /// The name of the caller's rule.
    pub(super) rule: Option<Arc<str>>,
    principal: Option<Principal>,
    caller: Option<Caller>,
    /// How many users are watched, none for all.
    pub(super) users: usize,
    /// Why the stream was refused.
    pub(super) error: Option<Error>,
}

impl WatchContext {
    pub(super) fn opening(&self) -> MutexGuard<'_, Opening> {
        self.opening.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the caller, and its rule if one matches it. Its connection may then use all of the memory.
    pub(super) fn set_caller(&self, caller: &Caller, rule: &Result<CallerRule<'_>, Denied>) {
        let mut opening = self.opening();
        opening.caller = Some(caller.clone());
        match rule {
            Ok(rule) => {
                self.memory.set_known();
                opening.rule = Some(Arc::clone(rule.name()));
                opening.principal = Some(rule.principal().clone());
            }
            Err(_) => opening.principal = Principal::of(caller.identity()),
        }
    }
}

impl Opening {
    /// Names the caller in the audit record, and what it watches.
    pub(super) fn describe(&self, record: &OpenRecord<'_>) {
        record.set_caller(self.rule.as_ref(), self.principal.as_ref());
        if let Some(caller) = &self.caller {
            record.set_watch(caller, self.users);
        }
    }
}
