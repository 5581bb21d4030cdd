//! A fetch of one user by one replica.

use super::world::{CALLERS, SECOND};

#[derive(Clone, Copy, Debug)]
pub(super) struct Fetch {
    pub(super) replica: usize,
    pub(super) user: u32,
    /// The caller; none for a refresh in the background.
    pub(super) caller: Option<usize>,
    pub(super) deadline: u64,
    /// The requests that wait for it.
    pub(super) requests: u64,
    /// The fetch of another replica that has the lease.
    pub(super) follows: Option<u64>,
}

impl Fetch {
    /// A fetch for one request, or a refresh, that begins now.
    pub(super) fn new(replica: usize, user: u32, caller: Option<usize>, now: u64) -> Self {
        let (deadline, requests) = (now + PATIENCE, u64::from(caller.is_some()));
        Self { replica, user, caller, deadline, requests, follows: None }
    }

    /// The place of its lane at its replica.
    pub(super) fn lane(&self) -> usize {
        self.caller.unwrap_or(CALLERS)
    }

    pub(super) fn is_late(&self, begins_at: u64) -> bool {
        begins_at + SECOND / 10 > self.deadline
    }
}

const PATIENCE: u64 = 3 * SECOND;
