//! What this replica has published lately. A failover of the store may lose the last of it, so a new
//! primary gets it again.

use std::{
    collections::VecDeque,
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::clock::BootTime;

/// The publications that the store may still lose, at most 10,000: those that it did not have for 10 s
/// when this replica last reached it.
#[derive(Debug)]
pub(super) struct Publications<T>(Mutex<VecDeque<(BootTime, T)>>);

impl<T> Default for Publications<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: PartialEq> Publications<T> {
    /// Adds one, in place of an equal one. If there are too many, it is left out.
    pub(super) fn note(&self, publication: T) {
        let (mut publications, at) = (self.lock(), BootTime::now());
        publications.retain(|(_, old)| *old != publication);
        if publications.len() < MAX_PUBLICATIONS {
            publications.push_back((at, publication));
        }
    }

    /// Removes those that the store has had for 10 s, as the same server answered a request that was sent
    /// at this time. A failover that this replica notices much later may have been right after it.
    pub(super) fn confirm(&self, sent: BootTime) {
        self.lock().retain(|(at, _)| sent - *at < KEPT_FOR);
    }

    /// Removes and returns them, the oldest first, so that a store that fails over again and again
    /// has each once.
    pub(super) fn take(&self) -> Vec<T> {
        mem::take(&mut *self.lock()).into_iter().map(|(_, publication)| publication).collect()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(BootTime, T)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// Replication is behind by less.
const KEPT_FOR: Duration = Duration::from_secs(10);
const MAX_PUBLICATIONS: usize = 10_000;
