//! One replica: its cache, its fetches in flight, and its lanes.

use std::collections::HashMap;

use super::{lane::Lane, world::CALLERS};

pub(super) struct Replica {
    pub(super) cache: HashMap<u32, Entry>,
    /// The fetch of each user.
    pub(super) fetches: HashMap<u32, u64>,
    /// One of each caller, and that of the background.
    pub(super) lanes: Vec<Lane>,
    /// The calls that it made.
    pub(super) calls: u64,
}

/// When a user was fetched, and when it is not fresh any more.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    pub(super) fetched_at: u64,
    pub(super) fresh_until: u64,
}

impl Replica {
    pub(super) fn new() -> Self {
        let lanes = (0..=CALLERS).map(|_| Lane::new()).collect();
        Self { cache: HashMap::new(), fetches: HashMap::new(), lanes, calls: 0 }
    }
}

impl Entry {
    pub(super) fn is_fresh(self, now: u64) -> bool {
        now < self.fresh_until
    }

    /// Whether a hit refreshes it ahead.
    pub(super) fn is_due(self, now: u64) -> bool {
        now >= self.fetched_at + (self.fresh_until - self.fetched_at) / 2
    }
}
