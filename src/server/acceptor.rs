//! Accepts connections one by one and deals them to the workers, within the limits and whatever happens.

use std::{io, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};
use tracing::{debug, warn};

use super::{
    admission::ConnectionLimiter,
    drain::{DrainPhase, DrainWatch},
    listener::{Accepted, Listener},
    worker::Workers,
};
use crate::telemetry::metrics::Metrics;

/// The one who accepts.
#[derive(Debug)]
pub(super) struct Acceptor {
    pub(super) listener: Listener,
    pub(super) limiter: ConnectionLimiter,
    pub(super) metrics: Metrics,
    pub(super) drain: DrainWatch,
    pub(super) workers: Arc<Workers>,
}

impl Acceptor {
    /// Accepts until the server is shut. Cancel safe: a connection that was accepted is dealt or refused. Dropped, it
    /// closes the port.
    pub(super) async fn run(mut self) {
        let mut last_warning = None;
        while let Some(accepted) = self.listener.next(self.drain.reached(DrainPhase::PortClosed)).await {
            match accepted {
                Ok(accepted) => self.admit(accepted),
                Err(error) if is_connection_error(&error) => {}
                Err(error) => {
                    self.metrics.server.accept_failures.inc();
                    warn_rarely(&mut last_warning, &error);
                    // For want of descriptors, mostly: to ask again at once would only burn the core that frees them.
                    sleep(RETRY_DELAY).await;
                }
            }
        }
    }

    fn admit(&self, accepted: Accepted) {
        match self.limiter.admit(accepted.address) {
            Ok(permit) => self.workers.dispatch(accepted, permit),
            // Closed at once, so that a client can try another replica.
            Err(limit) => {
                debug!(?limit, "connection refused");
                self.metrics.server.connections_refused.get(limit).inc();
            }
        }
    }
}

/// The connection was gone before it was accepted (accept(2), "Error handling"); the port is well.
fn is_connection_error(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, InvalidInput};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | InvalidInput)
}

/// Once a minute: the loop may turn ten times a second.
fn warn_rarely(last: &mut Option<Instant>, error: &io::Error) {
    if last.is_none_or(|last| last.elapsed() > WARN_INTERVAL) {
        warn!(%error, "connections cannot be accepted");
        *last = Some(Instant::now());
    }
}

const RETRY_DELAY: Duration = Duration::from_millis(100);
const WARN_INTERVAL: Duration = Duration::from_secs(60);
