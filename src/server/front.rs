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
    census::Census,
    connection::Host,
    descriptors,
    plan::Plan,
    probe::Probe,
    routes::routes,
    stage::{Stage, Stages},
    worker::Workers,
};
use crate::{
    config::{Config, ShutdownSettings},
    service::{Bounds, Calls, Service},
};

/// Everything that takes connections. Dropped, all of it ends at once.
pub(super) struct Front {
    accepting: JoinSet<()>,
    /// The probes' port and the watch on the TLS files, which go on to the end.
    aside: JoinSet<()>,
    stage: watch::Sender<Stage>,
    workers_ended: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Front {
    /// Begins to take connections; must be called in a Tokio runtime.
    pub(super) fn open(
        config: &Config,
        plan: &Plan,
        listeners: Listeners,
        service: Service,
        probe: Probe,
    ) -> Result<Self, Error> {
        let (stage, stages) = Stages::begin();
        let host = Host {
            calls: Calls::new(
                service,
                routes(probe.clone(), config)?,
                Bounds { time: config.limits.request_timeout, message: config.limits.message_bytes() },
                plan.audit.recorder(),
                plan.metrics.rpcs.clone(),
            ),
            limits: Arc::new(config.limits.clone()),
            metrics: plan.metrics.clone(),
            probe: probe.clone(),
            stages: stages.clone(),
            tls: plan.tls.clone(),
        };
        let threads = threads(config.workers);
        let (workers, workers_ended) = Workers::start(threads, host)?;
        let workers = Arc::new(workers);
        let (address, admin_address) = (listeners.grpc()?, listeners.admin()?);
        let Listeners { grpc: listener, admin: admin_listener } = listeners;

        let (metrics, limits) = (plan.metrics.clone(), &config.limits);
        let most = descriptors::connections(limits.connections, threads);
        let census = Census::new(most, limits.connections_per_peer);
        let admin = Admin { metrics: metrics.clone(), probe, workers: Arc::clone(&workers) };
        let (mut accepting, mut aside) = (JoinSet::new(), JoinSet::new());
        accepting.spawn(Acceptor { listener, census, metrics, stages, workers }.run());
        aside.spawn(admin.run(admin_listener));
        if let Some(tls) = plan.tls.clone() {
            aside.spawn(async move { tls.watch().await });
        }
        let (tls, version) = (plan.tls.is_some(), env!("CARGO_PKG_VERSION"));
        info!(%address, admin.address = %admin_address, tls, version, "listening");
        tell_systemd(NotifyState::Ready);
        Ok(Self { accepting, aside, stage, workers_ended: Box::pin(workers_ended) })
    }

    /// Returns if nobody accepts, serves or answers probes any more, which is a fault of ours. Cancel safe.
    pub(super) async fn failed(&mut self) {
        tokio::select! {
            () = &mut self.workers_ended => {}
            _ = self.accepting.join_next() => {}
            _ = self.aside.join_next() => {}
        }
    }

    /// Ends in the order that loses no call: says that none are welcome, waits until that is known, closes the port,
    /// asks connections to end, and cuts those that do not.
    pub(super) async fn drain(mut self, ready: watch::Sender<bool>, times: &ShutdownSettings) {
        let (delay, grace) = (times.delay, times.grace);
        info!(delay_ms = milliseconds(delay), grace_ms = milliseconds(grace), "stopping");
        tell_systemd(NotifyState::Stopping);
        ready.send_replace(false);
        sleep(delay).await;
        self.stage.send_replace(Stage::Shut);
        // Whoever keeps connecting must not hold the drain.
        drop(timeout(SHUTTING, self.accepting.join_next()).await);
        self.accepting.shutdown().await;
        // Ends the streams of those who watch the health, which would hold the drain to its last second.
        drop(ready);
        self.stage.send_replace(Stage::Closing);
        if timeout(grace, &mut self.workers_ended).await.is_err() {
            warn!("calls or connections did not end in time and are cut");
            self.stage.send_replace(Stage::Cut);
            // A thread that does not even cut hangs, and goes with the process.
            drop(timeout(CUTTING, self.workers_ended).await);
        }
        info!("stopped");
    }
}

fn threads(workers: usize) -> usize {
    match workers {
        0 => thread::available_parallelism().map_or(1, NonZero::get),
        set => set,
    }
}

/// Where systemd did not start this process, or does not listen, nobody needs to know.
fn tell_systemd(state: NotifyState<'_>) {
    drop(sd_notify::notify(&[state]));
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

const SHUTTING: Duration = Duration::from_millis(100);
const CUTTING: Duration = Duration::from_secs(1);
