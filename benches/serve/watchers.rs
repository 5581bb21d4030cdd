//! Ten thousand streams of `WatchUsers`, and a thousand changes a second.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use cognito_lookup::proto::{
    ExpireUserRequest, WatchUsersRequest, admin_service_client::AdminServiceClient,
    user_service_client::UserServiceClient, watch_users_response::Event,
};
use tokio::{
    runtime::{Builder, Runtime},
    time::{Instant, MissedTickBehavior, interval},
};
use tonic::{Streaming, transport::Channel};

use crate::{
    Bench,
    ab_comparison::AbComparison,
    server::Server,
    settings::Settings,
    table::{Goal, Row},
};

/// Compares a server whose changes are watched with one that nobody watches. Both expire as many users.
pub(crate) fn watchers(bench: &Bench) -> Vec<Row> {
    let settings = Settings { is_watched: true, ..Settings::before(&bench.cognito) };
    let [without, with] = [&settings; 2].map(Server::ours);
    let before = with.memory();
    let watchers = Watchers::open(with.address);
    assert_eq!(with.metric("cognito_lookup_watch_streams"), STREAMS);
    let opened = with.memory().saturating_sub(before);
    let changes = [&without, &with].map(|server| Changes::begin(server.address));
    let title = format!("GetUser by sub: {STREAMS} streams and {} changes/s, against no stream", rate());
    let comparison =
        AbComparison { title, servers: [("none", &without), ("all of them", &with)], is_paced: true };
    let [_, cpus, p99s] = comparison.run(bench).ratios;
    let [_, sent] = changes.map(Changes::end);
    watchers.wait_for(sent);
    let grown = [&without, &with].map(|server| server.memory());
    println!(
        "{sent} changes were sent, each to its stream; {} MiB with the streams, {} MiB without them",
        grown[1] >> 20,
        grown[0] >> 20
    );
    vec![
        Row::ratio(format!("{STREAMS} streams of changes to none: CPU/request"), Goal::Unset, &cpus),
        Row::ratio(format!("{STREAMS} streams of changes to none: p99"), Goal::AtMost(1.1), &p99s),
        Row::bytes("memory of a stream, when it is opened".to_owned(), Goal::Unset, per_stream(opened)),
        Row::bytes(
            "memory of a stream, after all changes".to_owned(),
            Goal::AtMost(MOST_BYTES),
            per_stream(grown[1].saturating_sub(grown[0])),
        ),
    ]
}

fn per_stream(bytes: usize) -> f64 {
    bytes as f64 / STREAMS as f64
}

/// Open streams, each about one user of its own.
struct Watchers {
    heard: Arc<AtomicUsize>,
    /// Drives the streams, and closes them on drop.
    _runtime: Runtime,
}

impl Watchers {
    fn open(address: SocketAddr) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let heard = Arc::<AtomicUsize>::default();
        for first in (0..STREAMS).step_by(PER_CONNECTION) {
            let channel = runtime.block_on(connect(address));
            for user in first..first + PER_CONNECTION {
                let stream = runtime.block_on(watch(channel.clone(), user));
                runtime.spawn(count(stream, user, Arc::clone(&heard)));
            }
        }
        Self { heard, _runtime: runtime }
    }

    /// Waits until the streams have received this many changes. Panics if that takes too long, or
    /// if they receive more.
    fn wait_for(&self, changes: usize) {
        let begun = Instant::now();
        while self.heard.load(Relaxed) < changes {
            assert!(begun.elapsed() < PATIENCE, "{} of {changes}", self.heard.load(Relaxed));
            thread::sleep(TICK);
        }
        assert_eq!(self.heard.load(Relaxed), changes);
    }
}

type Changed = Streaming<cognito_lookup::proto::WatchUsersResponse>;

async fn watch(channel: Channel, user: usize) -> Changed {
    let request = WatchUsersRequest { subs: vec![sub(user)], ..WatchUsersRequest::default() };
    let mut stream = UserServiceClient::new(channel).watch_users(request).await.unwrap().into_inner();
    let first = stream.message().await.unwrap().unwrap();
    assert!(matches!(first.event, Some(Event::Checkpoint(_))));
    stream
}

async fn count(mut stream: Changed, user: usize, heard: Arc<AtomicUsize>) {
    while let Some(message) = stream.message().await.unwrap() {
        if let Some(Event::Change(change)) = message.event {
            assert_eq!(change.sub, sub(user));
            heard.fetch_add(1, Relaxed);
        }
    }
}

/// Expires one watched user after the other until it ends.
struct Changes {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<usize>,
}

impl Changes {
    fn begin(address: SocketAddr) -> Self {
        let is_over = Arc::<AtomicBool>::default();
        let thread = thread::spawn({
            let is_over = Arc::clone(&is_over);
            move || {
                Builder::new_current_thread().enable_all().build().unwrap().block_on(send(address, &is_over))
            }
        });
        Self { is_over, thread }
    }

    /// Returns how many users it has expired.
    fn end(self) -> usize {
        self.is_over.store(true, Relaxed);
        self.thread.join().unwrap()
    }
}

async fn send(address: SocketAddr, is_over: &AtomicBool) -> usize {
    let mut admin = AdminServiceClient::new(connect(address).await);
    let (mut ticks, mut sent) = (interval(TICK), 0);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    while !is_over.load(Relaxed) {
        ticks.tick().await;
        for _ in 0..PER_TICK {
            let request = ExpireUserRequest { sub: sub(sent % STREAMS), ..ExpireUserRequest::default() };
            admin.expire_user(request).await.unwrap();
            sent += 1;
        }
    }
    sent
}

async fn connect(address: SocketAddr) -> Channel {
    Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
}

fn sub(user: usize) -> String {
    format!("watched-{user}")
}

fn rate() -> usize {
    PER_TICK * 1_000 / TICK.as_millis() as usize
}

const STREAMS: usize = 10_000;
// The most streams of one connection by default.
const PER_CONNECTION: usize = 100;
const TICK: Duration = Duration::from_millis(10);
const PER_TICK: usize = 10;
const PATIENCE: Duration = Duration::from_secs(30);
// What `limits.memory` counts for a stream of one user.
const MOST_BYTES: f64 = 74_000.0;
