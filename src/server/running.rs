//! The open server: who accepts, who serves, who answers probes; and how they end one after another.

use std::{num::NonZero, pin::Pin, sync::Arc, thread, time::Duration};

use sd_notify::NotifyState;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};
use tracing::{info, warn};

use super::{
    Error, Listeners,
    acceptor::Acceptor,
    admin::Admin,
    admission::ConnectionLimiter,
    components::Components,
    connection::ConnectionContext,
    drain::{DrainPhase, DrainWatch},
    fd_limit,
    readiness::Readiness,
    routes::routes,
    worker::Workers,
};
use crate::{
    config::{Config, ShutdownSettings},
    service::{CallLimits, Dispatcher, Service},
};

/// Everything that takes connections. Dropped, all of it ends at once.
pub(super) struct RunningServer {
    acceptor: JoinSet<()>,
    /// The probes' port and the watch on the TLS files, which go on to the end.
    background: JoinSet<()>,
    phase: watch::Sender<DrainPhase>,
    workers_ended: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl RunningServer {
    /// Begins to take connections; must be called in a Tokio runtime.
    pub(super) fn start(
        config: &Config,
        components: &Components,
        listeners: Listeners,
        service: Service,
        readiness: Readiness,
    ) -> Result<Self, Error> {
        let (phase, drain) = DrainWatch::channel();
        let context = ConnectionContext {
            dispatcher: Dispatcher::new(
                service,
                routes(readiness.clone(), config)?,
                CallLimits {
                    timeout: config.limits.request_timeout,
                    max_message_bytes: config.limits.message_bytes(),
                },
                components.audit.recorder(),
                &components.metrics,
            ),
            limits: Arc::new(config.limits.clone()),
            metrics: components.metrics.clone(),
            readiness: readiness.clone(),
            drain: drain.clone(),
            tls: components.tls.clone(),
        };
        let threads = thread_count(config.workers);
        let (workers, workers_ended) = Workers::start(threads, context)?;
        let workers = Arc::new(workers);
        let (address, admin_address) = (listeners.grpc()?, listeners.admin()?);
        let Listeners { grpc: listener, admin: admin_listener } = listeners;

        let (metrics, limits) = (components.metrics.clone(), &config.limits);
        let max_connections = fd_limit::max_connections(limits.connections, threads);
        let limiter = ConnectionLimiter::new(max_connections, limits.connections_per_peer);
        let admin = Admin { metrics: metrics.clone(), readiness, workers: Arc::clone(&workers) };
        let (mut acceptor, mut background) = (JoinSet::new(), JoinSet::new());
        acceptor.spawn(Acceptor { listener, limiter, metrics, drain, workers }.run());
        background.spawn(admin.run(admin_listener));
        if let Some(tls) = components.tls.clone() {
            background.spawn(async move { tls.watch().await });
        }
        let (tls, version) = (components.tls.is_some(), env!("CARGO_PKG_VERSION"));
        info!(%address, admin.address = %admin_address, tls, version, "listening");
        notify_systemd(NotifyState::Ready);
        Ok(Self { acceptor, background, phase, workers_ended: Box::pin(workers_ended) })
    }

    /// Returns if nobody accepts, serves or answers probes any more, which is a fault of ours. Cancel safe.
    pub(super) async fn failed(&mut self) {
        tokio::select! {
            () = &mut self.workers_ended => {}
            _ = self.acceptor.join_next() => {}
            _ = self.background.join_next() => {}
        }
    }

    /// Ends in the order that loses no call: says that none are welcome, waits until that is known, closes the port,
    /// asks connections to end, and cuts those that do not.
    pub(super) async fn drain(mut self, ready: watch::Sender<bool>, times: &ShutdownSettings) {
        let (delay, grace) = (times.delay, times.grace);
        info!(delay_ms = milliseconds(delay), grace_ms = milliseconds(grace), "stopping");
        notify_systemd(NotifyState::Stopping);
        ready.send_replace(false);
        sleep(delay).await;
        self.phase.send_replace(DrainPhase::PortClosed);
        // Whoever keeps connecting must not hold the drain.
        drop(timeout(ACCEPT_DRAIN_TIMEOUT, self.acceptor.join_next()).await);
        self.acceptor.shutdown().await;
        // Ends the streams of those who watch the health, which would hold the drain to its last second.
        drop(ready);
        self.phase.send_replace(DrainPhase::Closing);
        if timeout(grace, &mut self.workers_ended).await.is_err() {
            warn!("calls or connections did not end in time and are cut");
            self.phase.send_replace(DrainPhase::Abort);
            // A thread that does not even cut hangs, and goes with the process.
            drop(timeout(ABORT_TIMEOUT, self.workers_ended).await);
        }
        info!("stopped");
    }
}

fn thread_count(workers: usize) -> usize {
    match workers {
        0 => thread::available_parallelism().map_or(1, NonZero::get),
        set => set,
    }
}

/// Where systemd did not start this process, or does not listen, nobody needs to know.
fn notify_systemd(state: NotifyState<'_>) {
    drop(sd_notify::notify(&[state]));
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

const ACCEPT_DRAIN_TIMEOUT: Duration = Duration::from_millis(100);
const ABORT_TIMEOUT: Duration = Duration::from_secs(1);
