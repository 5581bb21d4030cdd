//! Accepts connections, applies the connection limits and hands connections to the workers.

use std::{io, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};
use tracing::{debug, warn};

use super::{
    admission::ConnectionLimiter,
    drain::{DrainPhase, DrainWatch},
    listener::{Accepted, Listener},
    worker::Workers,
};
use crate::telemetry::metrics::{ConnectionLimit, Metrics};

/// The accept loop.
#[derive(Debug)]
pub(super) struct Acceptor {
    pub(super) listener: Listener,
    pub(super) limiter: ConnectionLimiter,
    pub(super) metrics: Metrics,
    pub(super) drain: DrainWatch,
    pub(super) workers: Arc<Workers>,
}

impl Acceptor {
    /// Accepts until the drain closes the port. Cancel safe: every accepted connection is either
    /// dispatched or refused. Dropping the future closes the port.
    pub(super) async fn run(mut self) {
        let mut last_warning = None;
        while let Some(accepted) = self.listener.next(self.drain.reached(DrainPhase::PortClosed)).await {
            match accepted {
                Ok(accepted) => {
                    if self.admit(accepted) == Err(ConnectionLimit::Memory) {
                        // Clients that are refused may come again at once. In the system's backlog
                        // they cost nothing, and come to their turn in the order of their arrival.
                        sleep(MEMORY_PAUSE).await;
                    }
                }
                Err(error) if is_connection_error(&error) => {}
                Err(error) => {
                    self.metrics.server.accept_failures.inc();
                    warn_rarely(&mut last_warning, &error);
                    // Usually the process has no file descriptors left. Retrying at once would take
                    // CPU time from the connections that could release some.
                    sleep(RETRY_DELAY).await;
                }
            }
        }
    }

    /// Dispatches the connection, or closes it at once, so that the client can try another replica.
    fn admit(&self, accepted: Accepted) -> Result<(), ConnectionLimit> {
        let permit = self.limiter.admit(accepted.address).inspect_err(|limit| {
            debug!(?limit, "connection refused");
            self.metrics.server.connections_refused.get(*limit).inc();
        })?;
        self.workers.dispatch(accepted, permit);
        Ok(())
    }
}

/// Returns whether the error concerns only the connection that was to be accepted, and not the port
/// (accept(2), "Error handling").
fn is_connection_error(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, InvalidInput};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | InvalidInput)
}

/// Warns at most once a minute: the loop can fail ten times a second.
fn warn_rarely(last: &mut Option<Instant>, error: &io::Error) {
    if last.is_none_or(|last| last.elapsed() > WARN_INTERVAL) {
        warn!(%error, "cannot accept connections");
        *last = Some(Instant::now());
    }
}

// The time in which one stranger may be replaced.
const MEMORY_PAUSE: Duration = Duration::from_millis(20);
const RETRY_DELAY: Duration = Duration::from_millis(100);
const WARN_INTERVAL: Duration = Duration::from_secs(60);
