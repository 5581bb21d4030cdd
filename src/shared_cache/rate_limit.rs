//! The calls of the scripts of the rate limit that all replicas share.
//!
//! As in the limiter of one process, a call to Cognito counts from its grant until a window after
//! its end. The store has a log of the calls of each quota category, whose scores are the times at
//! which they leave. A call that nobody ends leaves after 4.1 s: it begins within 50 ms, its fetch
//! takes at most 2 s, and a request without a response counts for two windows more.
//!
//! These times are the server's, and its clock may step. A failover may have lost the last grants.
//! So every script names the *epoch* that its replica knows and the bounds of the server's time,
//! and changes nothing outside of them. Where a log may be incomplete, a new epoch begins. It opens
//! once a replica has watched the clock in it for 2.1 s: by then, every lost call has left. That time
//! is measured by the replica's own clock.

mod end;
mod store;
mod sync;
mod take;
mod tune;

use std::time::Duration;

pub use self::{
    end::End,
    store::{RateLimitSharing, SharedRateLimit},
    sync::{CategoryState, Cut, Sync, Synced},
    take::{CallerPlace, Crowd, OwnLimit, Take, TakeOutcome, Taken},
    tune::Tune,
};
use super::{args::flag, index::UserKey, server_time::ServerTime};

/// The keys of one account and Region, all in one slot.
#[derive(Clone, Debug)]
pub struct RateLimitKeys(String);

/// A caller, as the store knows it: a hash of its number, which is one of its name.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct CallerKey(String);

/// A call to Cognito, as the store knows it. No other call of any replica is equal.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CallKey(String);

/// What a script must know of the server's clock to change anything.
#[derive(Clone, Copy, Debug)]
pub struct ClockBounds<'a> {
    /// The epoch in which the replica has read the clock; empty before the first [`Sync`].
    pub epoch: &'a str,
    /// The server's time is not before this, unless its clock was set back.
    pub earliest: ServerTime,
    /// The server's time is not after this, unless its clock was set forward or the request is late.
    pub latest: ServerTime,
    /// Whether the bounds follow from a reading of the clock that is at least [`WATCH`] old.
    pub is_watched: bool,
}

impl RateLimitKeys {
    /// Makes the keys from their prefix, `NAMESPACE:b1:{HASH}`. The braces make the hash alone decide
    /// the slot of a cluster.
    pub const fn new(prefix: String) -> Self {
        Self(prefix)
    }

    fn state(&self) -> String {
        format!("{}:m", self.0)
    }

    /// The log of a category, and its line: the turns of those who wait, and until when they count.
    fn category(&self, category: &str) -> [String; 3] {
        ["", ":t", ":w"].map(|suffix| format!("{}:{category}{suffix}", self.0))
    }

    fn user(&self, user: &UserKey) -> String {
        format!("{}:u:{}", self.0, user.as_str())
    }

    fn caller(&self, caller: Option<&CallerKey>) -> String {
        format!("{}:c:{}", self.0, caller.map_or("", CallerKey::as_str))
    }
}

impl CallerKey {
    /// Makes it from the hash of the caller's number.
    pub const fn new(hash: String) -> Self {
        Self(hash)
    }

    fn as_str(&self) -> &str {
        &self.0
    }
}

impl CallKey {
    /// Names the call with this number of the replica with this random id.
    pub fn new(replica: &str, number: u64) -> Self {
        Self(format!("{replica}:{number}"))
    }
}

impl ClockBounds<'_> {
    fn args(&self) -> [Vec<u8>; 4] {
        let time = |time: ServerTime| time.as_micros().to_string().into_bytes();
        [self.epoch.into(), time(self.earliest), time(self.latest), flag(self.is_watched)]
    }
}

fn count(count: usize) -> Vec<u8> {
    count.to_string().into_bytes()
}

/// How long a call counts after its end: the second of Cognito's quotas, and 1 % for clocks that do
/// not run equally fast. Twice as long without a response: TCP may repeat what was lost.
pub const WINDOW: Duration = Duration::from_millis(1010);
/// A grant that comes later after its request is not used.
pub const GRANT_TIME: Duration = Duration::from_millis(50);
/// How old a reading of the clock must be to show that all lost calls have left: a call begins
/// within 50 ms, its attempt ends within 1 s, and then a window passes.
pub const WATCH: Duration = Duration::from_millis(2100);
