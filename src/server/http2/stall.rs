//! Detects responses that the client's flow-control window stalls.
//!
//! A client may close its HTTP/2 window, and hyper then keeps the response for the life of the
//! connection.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::sleep;
use tonic::Status;

use crate::service::ResponseBody;

/// Monitors the responses of one connection; cheap to clone.
#[derive(Clone, Debug, Default)]
pub(in crate::server) struct StallMonitor(Arc<Periods>);

/// Counts the waiting responses by the period in which their wait began. A period lasts for the
/// stall timeout, so a response costs no reading of the clock.
#[derive(Debug, Default)]
struct Periods {
    /// The number of the current period.
    current: AtomicUsize,
    /// How many waits that began in an even and in an odd period are not over.
    waiting: [AtomicUsize; 2],
}

impl Periods {
    fn of(&self, period: usize) -> &AtomicUsize {
        let [even, odd] = &self.waiting;
        if period.is_multiple_of(2) { even } else { odd }
    }
}

impl StallMonitor {
    /// Returns `body` with its waits for the client monitored.
    pub(in crate::server) fn monitor(&self, body: ResponseBody) -> MonitoredBody {
        let mut body = MonitoredBody { body, monitor: self.clone(), waiting_since: None };
        body.start_waiting();
        body
    }

    /// Completes when a response has waited for the client for `timeout` to twice as long. Cancel
    /// safe.
    pub(in crate::server) async fn stalled(&self, timeout: Duration) {
        loop {
            sleep(timeout).await;
            let ending = self.0.current.load(Relaxed);
            // A wait that began in the previous period has lasted for all of this one.
            if self.0.of(ending.wrapping_sub(1)).load(Relaxed) > 0 {
                return;
            }
            self.0.current.store(ending.wrapping_add(1), Relaxed);
        }
    }
}

/// A response body whose waits for the client are monitored.
///
/// hyper polls for the next frame only when the client's window has room for it. So the response
/// waits for the client from one frame to the next poll, and for us from that poll to its frame.
#[derive(Debug)]
pub(in crate::server) struct MonitoredBody {
    body: ResponseBody,
    monitor: StallMonitor,
    waiting_since: Option<usize>,
}

impl MonitoredBody {
    fn start_waiting(&mut self) {
        let periods = &self.monitor.0;
        let period = periods.current.load(Relaxed);
        periods.of(period).fetch_add(1, Relaxed);
        self.waiting_since = Some(period);
    }

    fn stop_waiting(&mut self) {
        if let Some(period) = self.waiting_since.take() {
            self.monitor.0.of(period).fetch_sub(1, Relaxed);
        }
    }
}

impl http_body::Body for MonitoredBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.stop_waiting();
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if frame.is_some() {
            self.start_waiting();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for MonitoredBody {
    fn drop(&mut self) {
        self.stop_waiting();
    }
}

#[cfg(test)]
mod tests;
