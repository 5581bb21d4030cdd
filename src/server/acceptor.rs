//! Accepts connections one by one and deals them to the workers, within the limits and whatever happens.

use std::{io, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};
use tracing::{debug, warn};

use super::{
    census::Census,
    listener::{Arrived, Listener},
    stage::{Stage, Stages},
    worker::Workers,
};
use crate::telemetry::metrics::{Metrics, RefusalLabels};

/// The one who accepts.
#[derive(Debug)]
pub(super) struct Acceptor {
    pub(super) listener: Listener,
    pub(super) census: Census,
    pub(super) metrics: Metrics,
    pub(super) stages: Stages,
    pub(super) workers: Arc<Workers>,
}

impl Acceptor {
    /// Accepts until the server is shut. Cancel safe: a connection that was accepted is dealt or refused. Dropped, it
    /// closes the port.
    pub(super) async fn run(mut self) {
        let mut complained = None;
        while let Some(arrived) = self.listener.next(self.stages.reached(Stage::Shut)).await {
            match arrived {
                Ok(arrived) => self.admit(arrived),
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    self.metrics.accept_failures.inc();
                    complain(&mut complained, &error);
                    // For want of descriptors, mostly: to ask again at once would only burn the core that frees them.
                    sleep(REST).await;
                }
            }
        }
    }

    fn admit(&self, arrived: Arrived) {
        match self.census.admit(arrived.address) {
            Ok(seat) => self.workers.deal(arrived, seat),
            // Closed at once, so that a client can try another replica.
            Err(limit) => {
                debug!(?limit, "connection refused");
                self.metrics.connections_refused.get_or_create(&RefusalLabels { limit }).inc();
            }
        }
    }
}

/// The connection was gone before it was accepted (accept(2), "Error handling"); the port is well.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, InvalidInput};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | InvalidInput)
}

/// Once a minute: the loop may turn ten times a second.
fn complain(last: &mut Option<Instant>, error: &io::Error) {
    if last.is_none_or(|last| last.elapsed() > COMPLAIN_EVERY) {
        warn!(%error, "connections cannot be accepted");
        *last = Some(Instant::now());
    }
}

const REST: Duration = Duration::from_millis(100);
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);
