//! The memory of connections, and of the requests and responses under way on them, under one limit.
//!
//! Each connection has an account, which begins with room for itself and a few calls. It takes more
//! of the limit in steps, so that most calls change no counter of the process.

mod account;
mod limit;
mod rate;
mod response;
mod unread;

pub use self::{
    account::{Charge, ConnectionMemory},
    limit::{Exhausted, MemoryLimit},
};

#[cfg(any(test, feature = "fuzzing"))]
impl ConnectionMemory {
    /// Opens an account under a limit that no test reaches.
    #[allow(clippy::unwrap_used, reason = "the limit is large enough")]
    pub(crate) fn for_test() -> Self {
        let metrics = crate::telemetry::metrics::Metrics::new();
        Self::open(&MemoryLimit::new(1 << 30, 0, &metrics)).unwrap()
    }
}

#[cfg(test)]
mod tests;
