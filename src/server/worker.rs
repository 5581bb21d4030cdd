//! The threads that serve connections, each with a runtime of its own, so that a call never crosses from one to another.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

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
use crate::telemetry::metrics::{Gauge, Metrics};

/// The serving threads.
#[derive(Debug)]
pub(super) struct Workers {
    workers: Vec<Worker>,
    drain: DrainWatch,
}

impl Workers {
    /// Starts `count` threads, which end when the stage is closing and their last connection is over; what is returned
    /// beside them waits for that. Fails where a thread cannot be had.
    pub(super) fn start(
        count: usize,
        context: ConnectionContext,
    ) -> io::Result<(Self, impl Future<Output = ()> + use<>)> {
        let drain = context.drain.clone();
        let started =
            (0..count).map(|n| Worker::start(n, context.another())).collect::<io::Result<Vec<_>>>()?;
        let (workers, ends): (Vec<_>, Vec<_>) = started.into_iter().unzip();
        // An error means that the thread is gone too.
        Ok((Self { workers, drain }, join_all(ends).map(drop)))
    }

    /// Gives a connection to the worker that has the fewest.
    pub(super) fn dispatch(&self, accepted: Accepted, permit: ConnectionPermit) {
        // One that is gone has no load, and would be dealt everything.
        let there = self.workers.iter().filter(|worker| !worker.tasks.is_closed());
        match there.min_by_key(|worker| worker.connection_count.get()) {
            Some(worker) => worker.assign(accepted, permit),
            None => error!("no serving thread is there"),
        }
    }

    /// Returns true if and only if every worker answers within a second; one that has ended because the server closes
    /// need not.
    pub(super) async fn all_respond(&self) -> bool {
        let answered = join_all(self.workers.iter().map(Worker::responds)).await;
        answered.into_iter().all(|alive| alive) || !self.drain.is_open()
    }
}

#[derive(Debug)]
struct Worker {
    connection_count: ConnectionCount,
    tasks: mpsc::UnboundedSender<Task>,
}

/// What a worker is given. The queue needs no bound of its own: the limiter bounds the connections.
#[derive(Debug)]
enum Task {
    Ping(oneshot::Sender<()>),
    Serve(Accepted, (ConnectionPermit, ConnectionCountGuard)),
}

impl Worker {
    fn start(n: usize, context: ConnectionContext) -> io::Result<(Self, oneshot::Receiver<()>)> {
        let (sender, tasks) = mpsc::unbounded_channel();
        let (done, ended) = oneshot::channel::<()>();
        let connection_count = ConnectionCount::new(n, &context.metrics);
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let serve = move || {
            runtime.block_on(serve(context, tasks));
            drop((runtime, done));
        };
        // Not joined: a thread that hangs must not hold the process, and `ended` tells of its end.
        thread::Builder::new().name(format!("worker-{n}")).spawn(serve)?;
        Ok((Self { connection_count, tasks: sender }, ended))
    }

    fn assign(&self, accepted: Accepted, permit: ConnectionPermit) {
        if self.tasks.send(Task::Serve(accepted, (permit, self.connection_count.increment()))).is_err() {
            error!("a serving thread is gone");
        }
    }

    async fn responds(&self) -> bool {
        let (answer, answered) = oneshot::channel();
        let asked = self.tasks.send(Task::Ping(answer)).is_ok();
        asked && matches!(timeout(LIVENESS_TIMEOUT, answered).await, Ok(Ok(())))
    }
}

async fn serve(context: ConnectionContext, mut tasks: mpsc::UnboundedReceiver<Task>) {
    let (mut connections, mut drain, mut closing) = (JoinSet::new(), context.drain.clone(), false);
    while !closing || !connections.is_empty() {
        tokio::select! {
            // What was dealt before the server closed is served, and then asked to leave like the others.
            biased;
            Some(task) = tasks.recv() => match task {
                // Whoever asked may have left.
                Task::Ping(answer) => drop(answer.send(())),
                Task::Serve(accepted, guards) => {
                    let connection = context.clone().serve(accepted);
                    connections.spawn(async move {
                        connection.await;
                        drop(guards);
                    });
                }
            },
            Some(_) = connections.join_next() => {}
            () = drain.reached(DrainPhase::Closing), if !closing => closing = true,
        }
    }
}

/// How many connections a worker has; each connection holds one that counts it.
#[derive(Debug)]
struct ConnectionCount {
    count: Arc<AtomicUsize>,
    gauge: Gauge,
}

impl ConnectionCount {
    fn new(worker: usize, metrics: &Metrics) -> Self {
        Self { count: Arc::default(), gauge: metrics.server.connections(worker) }
    }

    fn get(&self) -> usize {
        self.count.load(Relaxed)
    }

    fn increment(&self) -> ConnectionCountGuard {
        self.count.fetch_add(1, Relaxed);
        self.gauge.inc();
        ConnectionCountGuard(Self { count: Arc::clone(&self.count), gauge: self.gauge.clone() })
    }
}

/// The place of one connection at its worker.
#[derive(Debug)]
struct ConnectionCountGuard(ConnectionCount);

impl Drop for ConnectionCountGuard {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Relaxed);
        self.0.gauge.dec();
    }
}

const LIVENESS_TIMEOUT: Duration = Duration::from_secs(1);
