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
    census::Seat,
    connection::Host,
    listener::Arrived,
    stage::{Stage, Stages},
};
use crate::telemetry::metrics::{Gauge, Metrics, WorkerLabels};

/// The serving threads.
#[derive(Debug)]
pub(super) struct Workers {
    workers: Vec<Worker>,
    stages: Stages,
}

impl Workers {
    /// Starts `count` threads, which end when the stage is closing and their last connection is over; what is returned
    /// beside them waits for that. Fails where a thread cannot be had.
    pub(super) fn start(count: usize, host: Host) -> io::Result<(Self, impl Future<Output = ()> + use<>)> {
        let stages = host.stages.clone();
        let started = (0..count).map(|n| Worker::start(n, host.another())).collect::<io::Result<Vec<_>>>()?;
        let (workers, ends): (Vec<_>, Vec<_>) = started.into_iter().unzip();
        // An error means that the thread is gone too.
        Ok((Self { workers, stages }, join_all(ends).map(drop)))
    }

    /// Gives a connection to the worker that has the fewest.
    pub(super) fn deal(&self, arrived: Arrived, seat: Seat) {
        // One that is gone has no load, and would be dealt everything.
        let there = self.workers.iter().filter(|worker| !worker.tasks.is_closed());
        match there.min_by_key(|worker| worker.load.now()) {
            Some(worker) => worker.take(arrived, seat),
            None => error!("no serving thread is there"),
        }
    }

    /// Returns true if and only if every worker answers within a second; one that has ended because the server closes
    /// need not.
    pub(super) async fn are_alive(&self) -> bool {
        let answered = join_all(self.workers.iter().map(Worker::is_alive)).await;
        answered.into_iter().all(|alive| alive) || !self.stages.is_open()
    }
}

#[derive(Debug)]
struct Worker {
    load: Load,
    tasks: mpsc::UnboundedSender<Task>,
}

/// What a worker is given. The queue needs no bound of its own: the census bounds the connections.
#[derive(Debug)]
enum Task {
    Answer(oneshot::Sender<()>),
    Serve(Arrived, (Seat, Held)),
}

impl Worker {
    fn start(n: usize, host: Host) -> io::Result<(Self, oneshot::Receiver<()>)> {
        let (sender, tasks) = mpsc::unbounded_channel();
        let (done, ended) = oneshot::channel::<()>();
        let load = Load::new(n, &host.metrics);
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let serve = move || {
            runtime.block_on(serve(host, tasks));
            drop((runtime, done));
        };
        // Not joined: a thread that hangs must not hold the process, and `ended` tells of its end.
        thread::Builder::new().name(format!("worker-{n}")).spawn(serve)?;
        Ok((Self { load, tasks: sender }, ended))
    }

    fn take(&self, arrived: Arrived, seat: Seat) {
        if self.tasks.send(Task::Serve(arrived, (seat, self.load.one_more()))).is_err() {
            error!("a serving thread is gone");
        }
    }

    async fn is_alive(&self) -> bool {
        let (answer, answered) = oneshot::channel();
        let asked = self.tasks.send(Task::Answer(answer)).is_ok();
        asked && matches!(timeout(PATIENCE, answered).await, Ok(Ok(())))
    }
}

async fn serve(host: Host, mut tasks: mpsc::UnboundedReceiver<Task>) {
    let (mut connections, mut stages, mut closing) = (JoinSet::new(), host.stages.clone(), false);
    while !closing || !connections.is_empty() {
        tokio::select! {
            // What was dealt before the server closed is served, and then asked to leave like the others.
            biased;
            Some(task) = tasks.recv() => match task {
                // Whoever asked may have left.
                Task::Answer(answer) => drop(answer.send(())),
                Task::Serve(arrived, held) => {
                    let connection = host.clone().serve(arrived);
                    connections.spawn(async move {
                        connection.await;
                        drop(held);
                    });
                }
            },
            Some(_) = connections.join_next() => {}
            () = stages.reached(Stage::Closing), if !closing => closing = true,
        }
    }
}

/// How many connections a worker has; each connection holds one that counts it.
#[derive(Debug)]
struct Load {
    count: Arc<AtomicUsize>,
    gauge: Gauge,
}

impl Load {
    fn new(worker: usize, metrics: &Metrics) -> Self {
        let of_worker = WorkerLabels { worker: worker.try_into().unwrap_or(u32::MAX) };
        Self { count: Arc::default(), gauge: metrics.connections.get_or_create_owned(&of_worker) }
    }

    fn now(&self) -> usize {
        self.count.load(Relaxed)
    }

    fn one_more(&self) -> Held {
        self.count.fetch_add(1, Relaxed);
        self.gauge.inc();
        Held(Self { count: Arc::clone(&self.count), gauge: self.gauge.clone() })
    }
}

/// The place of one connection at its worker.
#[derive(Debug)]
struct Held(Load);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Relaxed);
        self.0.gauge.dec();
    }
}

const PATIENCE: Duration = Duration::from_secs(1);
