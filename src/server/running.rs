//! The running server: its tasks and threads, and the order in which a drain ends them.

use std::{pin::Pin, sync::Arc, time::Duration};

use sd_notify::NotifyState;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};
use tracing::{info, warn};

use super::{
    acceptor::Acceptor,
    admin::Admin,
    admission::ConnectionLimiter,
    builtin,
    components::Components,
    connection::ConnectionContext,
    drain::{DrainPhase, DrainWatch},
    error::Error,
    listener::Listeners,
    readiness::{Readiness, ReadyState},
    worker::Workers,
};
use crate::{
    changes::Changes,
    config::{Config, ShutdownSettings},
    memory::MemoryLimit,
    service::{Dispatcher, Service},
};

/// The tasks and threads that take connections. Dropping it ends all of them at once.
pub(super) struct RunningServer {
    acceptor: JoinSet<()>,
    /// The admin port and the checks of files for changes, which run until the end of the drain.
    background: JoinSet<()>,
    changes: Changes,
    /// Answers the calls of all connections.
    pub(super) dispatcher: Dispatcher,
    phase: watch::Sender<DrainPhase>,
    workers_ended: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl RunningServer {
    /// Starts to take connections. Must be called in a Tokio runtime.
    pub(super) fn start(
        config: &Config,
        components: &Components,
        listeners: Listeners,
        service: Service,
        readiness: Readiness,
    ) -> Result<Self, Error> {
        let threads = config.threads();
        let connection_bytes = if components.tls.is_some() { TLS_CONNECTION_BYTES } else { CONNECTION_BYTES };
        let memory = MemoryLimit::new(config.limits.memory_bytes(), connection_bytes, &components.metrics);
        let limiter = ConnectionLimiter::new(&config.limits, threads, memory)?;
        let (phase, drain) = DrainWatch::channel();
        let routes = builtin::routes(readiness.clone(), config)?;
        let (metrics, changes) = (components.metrics.clone(), service.users.changes().clone());
        let recorder = components.audit.recorder();
        let dispatcher = Dispatcher::new(service, routes, &config.limits, recorder, &metrics);
        let context = ConnectionContext {
            dispatcher: dispatcher.clone(),
            limits: Arc::new(config.limits.clone()),
            metrics: metrics.clone(),
            readiness: readiness.clone(),
            drain: drain.clone(),
            tls: components.tls.clone(),
        };
        let (workers, workers_ended) = Workers::start(threads, context)?;
        let workers = Arc::new(workers);
        let (address, admin_address) = (listeners.grpc()?, listeners.admin()?);

        let (mut acceptor, mut background) = (JoinSet::new(), JoinSet::new());
        let (metrics_of_admin, writing) = (metrics.clone(), Arc::default());
        let admin = Admin { metrics: metrics_of_admin, readiness, workers: Arc::clone(&workers), writing };
        background.spawn(admin.run(listeners.admin));
        acceptor.spawn(Acceptor { listener: listeners.grpc, limiter, metrics, drain, workers }.run());
        if let Some(tls) = components.tls.clone() {
            background.spawn(async move { tls.watch().await });
        }
        if let Some(keys) = components.value_keys() {
            background.spawn(async move { keys.watch().await });
        }
        let (tls, version) = (components.tls.is_some(), env!("CARGO_PKG_VERSION"));
        info!(%address, admin.address = %admin_address, tls, version, "listening");
        notify_systemd(NotifyState::Ready);
        let workers_ended = Box::pin(workers_ended);
        Ok(Self { acceptor, background, changes, dispatcher, phase, workers_ended })
    }

    /// Returns when a task or all serving threads have ended, which is a bug. Cancel safe.
    pub(super) async fn failed(&mut self) {
        tokio::select! {
            () = &mut self.workers_ended => {}
            _ = self.acceptor.join_next() => {}
            _ = self.background.join_next() => {}
        }
    }

    /// Drains without losing a call. Reports "not ready", and waits until load balancers have seen
    /// it. Then closes the port, closes connections gracefully, and cuts those that remain.
    pub(super) async fn drain(mut self, ready: watch::Sender<ReadyState>, times: &ShutdownSettings) {
        let (delay, grace) = (times.delay, times.grace);
        info!(?delay, ?grace, "stopping");
        notify_systemd(NotifyState::Stopping);
        ready.send_modify(ReadyState::stop);
        // Watchers move to another replica while this one still answers calls.
        self.changes.drain();
        sleep(delay).await;
        self.phase.send_replace(DrainPhase::PortClosed);
        // Clients that keep connecting must not prolong the drain.
        drop(timeout(ACCEPT_DRAIN_TIMEOUT, self.acceptor.join_next()).await);
        self.acceptor.shutdown().await;
        // This ends the streams of health watchers, which would otherwise last for all of the
        // grace.
        drop(ready);
        self.phase.send_replace(DrainPhase::Closing);
        if timeout(grace, &mut self.workers_ended).await.is_err() {
            warn!("calls or connections did not end within shutdown.grace and are cut");
            self.phase.send_replace(DrainPhase::Abort);
            // A thread that still does not end hangs; it ends with the process.
            drop(timeout(ABORT_TIMEOUT, self.workers_ended).await);
        }
        info!("stopped");
    }
}

/// Notifies systemd. Without a systemd that listens, this does nothing.
fn notify_systemd(state: NotifyState<'_>) {
    drop(sd_notify::notify(&[state]));
}

// What a connection takes in the worst case, without calls: the buffers of h2 for one frame each
// way, and with TLS those of rustls. With the room that it has for calls, 40 and 72 KiB.
const CONNECTION_BYTES: usize = 24 * 1024;
const TLS_CONNECTION_BYTES: usize = 56 * 1024;
const ACCEPT_DRAIN_TIMEOUT: Duration = Duration::from_millis(100);
const ABORT_TIMEOUT: Duration = Duration::from_secs(1);
