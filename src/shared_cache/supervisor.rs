//! Keeps one connection to the store: establishes it, probes it and replaces it. No call ever waits
//! for this task.

use std::{future::Future, pin::pin, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, info, warn};

use super::{fault::Fault, lane::Lane};
use crate::telemetry::metrics::shared_cache::{ReconnectReason, SharedCacheMetrics};

/// Establishes and probes connections.
pub(super) trait Connector: Send + Sync + 'static {
    /// A connection; cheap to clone. Dropping the last clone closes it.
    type Connection: Clone + Send + Sync + 'static;

    /// Establishes a connection that can write. Bounded in time. Resolves names and reads
    /// credentials and certificates again.
    fn connect(&self) -> impl Future<Output = Result<Self::Connection, Fault>> + Send;

    /// Writes something. Ends within the time limit of a call.
    fn probe(&self, connection: &Self::Connection) -> impl Future<Output = Result<(), Fault>> + Send;

    /// Waits until the connection has ended.
    fn closed(&self, connection: &Self::Connection) -> impl Future<Output = ()> + Send;
}

/// The task that keeps the connection of one lane.
pub(super) struct Supervisor<K: Connector> {
    pub(super) connector: Arc<K>,
    pub(super) lane: Arc<Lane<K::Connection>>,
    /// A lane whose connection must be replaced too when the server of this one has lost its role.
    pub(super) follower: Option<Arc<Lane<K::Connection>>>,
    /// Probe an idle connection this often, so that a call finds no dead one; never if none.
    pub(super) heartbeat: Option<Duration>,
    pub(super) metrics: SharedCacheMetrics,
}

impl<K: Connector> Supervisor<K> {
    /// Runs until it is aborted.
    pub(super) async fn run(self) {
        let (mut backoff, mut reason) = (Backoff::default(), None);
        loop {
            let connection = self.connect(&mut backoff, reason).await;
            let connected = Instant::now();
            let replaced = self.keep(&connection).await;
            reason = Some(replaced);
            if connected.elapsed() >= STABLE_TIME {
                backoff = Backoff::after_success();
            }
            self.metrics.reconnects.get(replaced).inc();
            debug!(connection = self.lane.purpose, ?replaced, "replacing a connection to the shared cache");
            if let (ReconnectReason::ReadOnly | ReconnectReason::NotReady, Some(follower)) =
                (replaced, &self.follower)
            {
                follower.replace(replaced);
            }
        }
    }

    /// Connects, in as many attempts as it takes.
    async fn connect(&self, backoff: &mut Backoff, reason: Option<ReconnectReason>) -> K::Connection {
        let mut last: Option<Fault> = None;
        loop {
            sleep(backoff.next(last.as_ref())).await;
            match self.connector.connect().await {
                Ok(connection) => {
                    self.lane.install(connection.clone());
                    debug!(connection = self.lane.purpose, "connected to the shared cache");
                    return connection;
                }
                Err(fault) => {
                    // An old connection may still be good.
                    if reason != Some(ReconnectReason::Age) {
                        self.lane.lose(&fault);
                    }
                    if last.as_ref() != Some(&fault) {
                        let (connection, cause) = (self.lane.purpose, &fault.cause);
                        warn!(connection, cause, "cannot connect to the shared cache; trying again");
                        last = Some(fault);
                    }
                }
            }
        }
    }

    /// Watches the connection until it must be replaced. It stays in use meanwhile, unless the
    /// breaker is open.
    async fn keep(&self, connection: &K::Connection) -> ReconnectReason {
        let max_age = MAX_AGE.mul_f64(0.9 + 0.2 * fastrand::f64());
        let (mut aged, mut closed) = (pin!(sleep(max_age)), pin!(self.connector.closed(connection)));
        let mut last_probe = None;
        loop {
            let condition = self.lane.condition();
            if let Some(reason) = condition.replacement {
                return reason;
            }
            let next_probe = if condition.is_open {
                // At once after the breaker has opened, or the connection was established.
                Some(last_probe.map_or_else(Instant::now, |last| last + PROBE_INTERVAL))
            } else {
                self.heartbeat.map(|heartbeat| Instant::now() + heartbeat.saturating_sub(condition.idle))
            };
            tokio::select! {
                biased;
                () = &mut closed => self.lane.report_closed(),
                () = &mut aged => return ReconnectReason::Age,
                () = self.lane.changed() => {}
                () = wait_until(next_probe) => {
                    if !condition.is_open && self.lane.condition().idle < self.heartbeat.unwrap_or_default() {
                        // A call was answered meanwhile.
                        continue;
                    }
                    last_probe = Some(Instant::now());
                    self.probe().await;
                }
            }
        }
    }

    async fn probe(&self) {
        let (Some(taken), begun) = (self.lane.take_for_probe(), Instant::now()) else { return };
        let result = self.connector.probe(&taken.connection).await;
        if !self.lane.condition().is_open {
            self.lane.record(taken.number(), result.as_ref().err(), begun.elapsed());
        } else if self.lane.record_probe(taken.number(), &result, begun.elapsed()) {
            info!("the shared cache is used");
        }
    }
}

async fn wait_until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// How long to wait before the next attempt to connect: at random, so that replicas do not return to
/// a restarted store all at once.
#[derive(Debug, Default)]
struct Backoff {
    attempts: u32,
}

impl Backoff {
    fn after_success() -> Self {
        Self { attempts: 1 }
    }

    /// Returns the time to wait after this fault: none before the first attempt, up to 500 ms before the
    /// second, and twice as long before each further one, up to 1 s, or 5 s if the fault does not pass
    /// by itself.
    fn next(&mut self, fault: Option<&Fault>) -> Duration {
        let most =
            if fault.is_some_and(|fault| fault.kind.is_lasting()) { MAX_WAIT } else { MAX_WAIT_FOR_STORE };
        let longest = self.longest().min(most);
        self.attempts = self.attempts.saturating_add(1);
        longest.mul_f64(fastrand::f64())
    }

    fn longest(&self) -> Duration {
        let doublings = self.attempts.checked_sub(1);
        doublings.map_or(Duration::ZERO, |doublings| {
            FIRST_WAIT.saturating_mul(1_u32.checked_shl(doublings).unwrap_or(u32::MAX))
        })
    }
}

const FIRST_WAIT: Duration = Duration::from_millis(500);
// The shared rate limit is in full use again 2.1 s after the first replica has reached the store.
const MAX_WAIT_FOR_STORE: Duration = Duration::from_secs(1);
const MAX_WAIT: Duration = Duration::from_secs(5);
// The next attempt after a connection that lived so long does not wait as after a failed one.
const STABLE_TIME: Duration = Duration::from_secs(5);
const PROBE_INTERVAL: Duration = Duration::from_millis(250);
// ElastiCache ends a connection with an IAM token after 12 h. This also picks up new passwords and
// certificates.
const MAX_AGE: Duration = Duration::from_secs(10 * 60 * 60);

#[cfg(test)]
mod tests;
