//! The threads that serve connections.
//!
//! Each has a runtime of its own, so a call never moves from one core to another.

use std::{io, thread, time::Duration};

use futures_util::{FutureExt as _, future::join_all};
use tokio::{
    runtime::Builder,
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::timeout,
};
use tracing::error;

use super::{
    admission::ConnectionPermit,
    connection::ConnectionContext,
    drain::{DrainPhase, DrainWatch},
    listener::Accepted,
};
use crate::telemetry::metrics::Gauge;

/// The serving threads.
#[derive(Debug)]
pub(super) struct Workers {
    workers: Vec<Worker>,
    drain: DrainWatch,
}

impl Workers {
    /// Starts `count` threads. The returned future completes when all of them have ended: after
    /// [`DrainPhase::Closing`], once their last connection is closed.
    pub(super) fn start(
        count: usize,
        context: ConnectionContext,
    ) -> io::Result<(Self, impl Future<Output = ()> + use<>)> {
        let drain = context.drain.clone();
        let started = (0..count).map(|n| Worker::start(n, context.for_another_thread()));
        let (workers, ends): (Vec<_>, Vec<_>) = started.collect::<io::Result<Vec<_>>>()?.into_iter().unzip();
        // A dropped sender means that the thread panicked, so it has ended too.
        Ok((Self { workers, drain }, join_all(ends).map(drop)))
    }

    /// Sends a connection to the worker with the fewest connections.
    pub(super) fn dispatch(&self, accepted: Accepted, permit: ConnectionPermit) {
        // A worker that has ended keeps no connections, so it would be chosen for all of them.
        let alive = self.workers.iter().filter(|worker| !worker.tasks.is_closed());
        let sent = alive.min_by_key(|worker| worker.connections.get()).map(|worker| {
            worker.connections.inc();
            worker.tasks.send(Task::Serve(accepted, permit))
        });
        if !matches!(sent, Some(Ok(()))) {
            error!("no serving thread takes the connection");
        }
    }

    /// Returns whether every worker responds within a second, or the drain has begun, in which
    /// workers end.
    pub(super) async fn all_respond(&self) -> bool {
        let responses = join_all(self.workers.iter().map(Worker::responds)).await;
        responses.into_iter().all(|responds| responds) || !self.drain.is_open()
    }
}

#[derive(Debug)]
struct Worker {
    /// The metric of this worker's connections, which also balances the load.
    connections: Gauge,
    /// Unbounded, because the connection limiter bounds what is sent.
    tasks: mpsc::UnboundedSender<Task>,
}

#[derive(Debug)]
enum Task {
    Ping(oneshot::Sender<()>),
    Serve(Accepted, ConnectionPermit),
}

impl Worker {
    fn start(n: usize, context: ConnectionContext) -> io::Result<(Self, oneshot::Receiver<()>)> {
        let (sender, tasks) = mpsc::unbounded_channel();
        let (done, ended) = oneshot::channel::<()>();
        let connections = context.metrics.server.connections(n);
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let count = connections.clone();
        let serve = move || {
            runtime.block_on(serve(context, tasks, count));
            drop((runtime, done));
        };
        // The thread is not joined, because a hanging one must not keep the process alive; `ended`
        // reports its end.
        thread::Builder::new().name(format!("worker-{n}")).spawn(serve)?;
        Ok((Self { connections, tasks: sender }, ended))
    }

    async fn responds(&self) -> bool {
        let (sender, response) = oneshot::channel();
        let sent = self.tasks.send(Task::Ping(sender)).is_ok();
        sent && matches!(timeout(LIVENESS_TIMEOUT, response).await, Ok(Ok(())))
    }
}

async fn serve(context: ConnectionContext, mut tasks: mpsc::UnboundedReceiver<Task>, count: Gauge) {
    let (mut connections, mut drain, mut closing) = (JoinSet::new(), context.drain.clone(), false);
    while !closing || !connections.is_empty() {
        tokio::select! {
            // Connections that were dispatched before the drain are served first, and then closed
            // gracefully like the others.
            biased;
            Some(task) = tasks.recv() => match task {
                // The probe may have given up.
                Task::Ping(response) => drop(response.send(())),
                Task::Serve(accepted, permit) => {
                    let memory = permit.memory.clone();
                    connections.spawn(context.clone().serve(accepted, memory).map(|()| drop(permit)));
                }
            },
            Some(_) = connections.join_next() => {
                count.dec();
            }
            () = drain.reached(DrainPhase::Closing), if !closing => closing = true,
        }
    }
}

const LIVENESS_TIMEOUT: Duration = Duration::from_secs(1);
