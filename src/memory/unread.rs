//! Detects responses that their client does not read.
//!
//! A client may close its HTTP/2 window. h2 then keeps what is to be sent for the life of the
//! connection.

use std::{
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use tokio::time::sleep;

/// Counts the unread responses of a connection by the period in which h2 got them. A period lasts
/// for the stall timeout, so a response costs no reading of the clock.
#[derive(Debug, Default)]
pub(super) struct UnreadResponses {
    /// The number of the current period.
    current: AtomicUsize,
    /// How many of an even and of an odd period are unread.
    unread: [AtomicUsize; 2],
}

impl UnreadResponses {
    /// Counts a response, and returns the period in which it began.
    pub(super) fn begin(&self) -> usize {
        let period = self.current.load(Relaxed);
        self.of(period).fetch_add(1, Relaxed);
        period
    }

    /// Ends a response of `period`: it was read, or given up.
    pub(super) fn end(&self, period: usize) {
        self.of(period).fetch_sub(1, Relaxed);
    }

    /// Completes when a response has been unread for `timeout` to twice as long. Cancel safe.
    pub(super) async fn stalled(&self, timeout: Duration) {
        loop {
            sleep(timeout).await;
            let ending = self.current.load(Relaxed);
            // What began in the previous period has lasted for all of this one.
            if self.of(ending.wrapping_sub(1)).load(Relaxed) > 0 {
                return;
            }
            self.current.store(ending.wrapping_add(1), Relaxed);
        }
    }

    fn of(&self, period: usize) -> &AtomicUsize {
        let [even, odd] = &self.unread;
        if period.is_multiple_of(2) { even } else { odd }
    }
}
