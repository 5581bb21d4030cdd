//! Wakes the writer: within 100 ms for a few records, at once for many or for one that a caller
//! waits for.

use std::{
    mem,
    sync::{Condvar, Mutex, PoisonError},
    time::Duration,
};

/// The signal that the writer waits for.
#[derive(Debug, Default)]
pub(super) struct FlushSignal {
    request: Mutex<FlushRequest>,
    condvar: Condvar,
}

/// What the writer must do.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FlushRequest {
    /// Write after a delay, to collect more records.
    pub(super) soon: bool,
    /// Write at once.
    pub(super) now: bool,
    /// Reopen the sink.
    pub(super) reopen: bool,
    /// Write what is left and end.
    pub(super) end: bool,
}

impl FlushRequest {
    fn is_urgent(&self) -> bool {
        self.now || self.reopen || self.end
    }
}

impl FlushSignal {
    /// Adds to the request, and wakes the writer.
    pub(super) fn notify(&self, add: impl FnOnce(&mut FlushRequest)) {
        add(&mut self.request.lock().unwrap_or_else(PoisonError::into_inner));
        self.condvar.notify_one();
    }

    /// Waits for a request: returns an urgent one at once, any other after 100 ms. With
    /// `has_records` it returns after 100 ms even without a request.
    pub(super) fn wait(&self, has_records: bool) -> FlushRequest {
        let request = self.request.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = |request: &mut FlushRequest| !has_records && !request.soon && !request.is_urgent();
        let request = self.condvar.wait_while(request, idle).unwrap_or_else(PoisonError::into_inner);
        let waited = self.condvar.wait_timeout_while(request, FLUSH_INTERVAL, |request| !request.is_urgent());
        mem::take(&mut waited.unwrap_or_else(PoisonError::into_inner).0)
    }
}

const FLUSH_INTERVAL: Duration = Duration::from_millis(100);
