//! The rate at which requests of strangers are read: a token bucket.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// What was read lately. It may exceed the rate by the last read of each connection, and is waited
/// for afterwards.
#[derive(Debug, Default)]
pub(super) struct ReadRate(Mutex<Option<Bucket>>);

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl ReadRate {
    /// Counts `bytes`, at `rate` bytes a second. Returns how long to wait until more are read.
    pub(super) fn count(&self, bytes: usize, rate: f64) -> Option<Duration> {
        let now = Instant::now();
        let mut bucket = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let tokens = bucket.map_or(BURST, |Bucket { tokens, at }| tokens + (now - at).as_secs_f64() * rate);
        // At most a second's debt: what was read without a wait must not delay others for longer.
        let tokens = (tokens.min(BURST) - bytes as f64).max(-rate);
        *bucket = Some(Bucket { tokens, at: now });
        // Jitter, or all that wait would try at once.
        let wait = (-tokens / rate).min(MAX_WAIT) + MIN_WAIT * (1.0 + fastrand::f64());
        (tokens < 0.0).then(|| Duration::from_secs_f64(wait))
    }
}

const BURST: f64 = 64.0 * 1024.0;
// In seconds.
const MIN_WAIT: f64 = 0.05;
const MAX_WAIT: f64 = 1.0;
