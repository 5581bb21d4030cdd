//! How the writer is woken: soon for a few records, now for many or for one that is waited for.

use std::{
    mem,
    sync::{Condvar, Mutex, PoisonError},
    time::Duration,
};

/// What the writer sleeps on.
#[derive(Debug, Default)]
pub(super) struct FlushSignal {
    request: Mutex<FlushRequest>,
    condvar: Condvar,
}

/// What the writer is request for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FlushRequest {
    /// There are records.
    pub(super) soon: bool,
    /// There are many of them, or somebody waits for one.
    pub(super) now: bool,
    /// The place is to be opened again.
    pub(super) reopen: bool,
    /// The process ends.
    pub(super) end: bool,
}

impl FlushRequest {
    fn is_urgent(self) -> bool {
        self.now || self.reopen || self.end
    }
}

impl FlushSignal {
    /// Rings for what `want` asks.
    pub(super) fn notify(&self, want: impl FnOnce(&mut FlushRequest)) {
        want(&mut self.request.lock().unwrap_or_else(PoisonError::into_inner));
        self.condvar.notify_one();
    }

    /// Returns at once with what is urgent, and 100 ms after anything else was request; one that has something to do all
    /// the same is woken after 100 ms too.
    pub(super) fn wait(&self, is_busy: bool) -> FlushRequest {
        let request = self.request.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = |request: &mut FlushRequest| !is_busy && !request.soon && !request.is_urgent();
        let request = self.condvar.wait_while(request, idle).unwrap_or_else(PoisonError::into_inner);
        let waiting =
            self.condvar.wait_timeout_while(request, FLUSH_INTERVAL, |request| !request.is_urgent());
        mem::take(&mut waiting.unwrap_or_else(PoisonError::into_inner).0)
    }
}

const FLUSH_INTERVAL: Duration = Duration::from_millis(100);
