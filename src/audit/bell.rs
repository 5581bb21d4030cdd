//! How the writer is woken: soon for a few records, now for many or for one that is waited for.

use std::{
    mem,
    sync::{Condvar, Mutex, PoisonError},
    time::Duration,
};

/// What the writer sleeps on.
#[derive(Debug, Default)]
pub(super) struct Bell {
    wanted: Mutex<Wanted>,
    rung: Condvar,
}

/// What the writer is wanted for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wanted {
    /// There are records.
    pub(super) soon: bool,
    /// There are many of them, or somebody waits for one.
    pub(super) now: bool,
    /// The place is to be opened again.
    pub(super) reopen: bool,
    /// The process ends.
    pub(super) end: bool,
}

impl Wanted {
    fn is_urgent(self) -> bool {
        self.now || self.reopen || self.end
    }
}

impl Bell {
    /// Rings for what `want` asks.
    pub(super) fn ring(&self, want: impl FnOnce(&mut Wanted)) {
        want(&mut self.wanted.lock().unwrap_or_else(PoisonError::into_inner));
        self.rung.notify_one();
    }

    /// Returns at once with what is urgent, and 100 ms after anything else was wanted; one that has something to do all
    /// the same is woken after 100 ms too.
    pub(super) fn heard(&self, is_busy: bool) -> Wanted {
        let wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = |wanted: &mut Wanted| !is_busy && !wanted.soon && !wanted.is_urgent();
        let wanted = self.rung.wait_while(wanted, idle).unwrap_or_else(PoisonError::into_inner);
        let waiting = self.rung.wait_timeout_while(wanted, GATHERING, |wanted| !wanted.is_urgent());
        mem::take(&mut waiting.unwrap_or_else(PoisonError::into_inner).0)
    }
}

const GATHERING: Duration = Duration::from_millis(100);
