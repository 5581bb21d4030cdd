//! What this replica has published lately. A failover of the store may lose the last of it, so a new
//! primary gets it again.

use std::{
    collections::VecDeque,
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::clock::BootTime;

/// The publications of the last 10 s, at most 10,000.
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
        publications.retain(|(at, old)| *old != publication && at.elapsed() < KEPT_FOR);
        if publications.len() < MAX_PUBLICATIONS {
            publications.push_back((at, publication));
        }
    }

    /// Removes and returns them, the oldest first, so that a store that fails over again and again
    /// has each once.
    pub(super) fn take(&self) -> Vec<T> {
        let all = mem::take(&mut *self.lock());
        let recent = all.into_iter().filter(|(at, _)| at.elapsed() < KEPT_FOR);
        recent.map(|(_, publication)| publication).collect()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(BootTime, T)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// Replication is behind by less.
const KEPT_FOR: Duration = Duration::from_secs(10);
const MAX_PUBLICATIONS: usize = 10_000;
