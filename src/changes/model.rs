//! Model checking of the log and its streams: random schedules of three replicas that follow one stream
//! of events, and of clients that move between them.
//!
//! A client follows the recipe of docs/watch.md. The oracle knows every change that it must still
//! hear of. `MODEL_SEEDS=4711..4712` replays one seed.

use std::{
    collections::BTreeMap,
    panic,
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures_util::FutureExt as _;
use tokio::time::{Instant, advance};

use super::{
    rules::{Rule, without},
    *,
};
use crate::{shared_cache::fixtures::sealer, telemetry::metrics::Metrics};

/// The negative control: without any one of the rules, some schedule misses a change.
#[test]
fn each_rule_is_needed() {
    let rules = [
        Rule::TokenBeforePending,
        Rule::CheckpointCatchesUp,
        Rule::RunIsCompared,
        Rule::IdIsCompared,
        Rule::BaseIsCompared,
        Rule::LossEndsStreams,
        Rule::ChangesMerge,
        Rule::SlownessEnds,
        Rule::UnnamedEndStreams,
    ];
    for rule in rules {
        let fails = |seed: &u64| panic::catch_unwind(|| without(rule, || replay(*seed))).is_err();
        let found = (0..2_000).find(fails);
        println!("without {rule:?} the seed {found:?} fails");
        assert!(found.is_some(), "no schedule needs {rule:?}");
    }
}

fn replay(seed: u64) -> Told {
    fastrand::seed(seed);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(play())
}

#[test]
fn no_change_is_missed_in_silence() {
    let mut told = Told::default();
    for seed in seeds() {
        let played = panic::catch_unwind(|| replay(seed));
        let Ok(of_seed) = played else { panic!("replay it with MODEL_SEEDS={seed}..{}", seed + 1) };
        told.add(of_seed);
    }
    // The schedules reach what they are for.
    let Told { changes, checkpoints, resumed, lost, slow } = told;
    let all = [changes, checkpoints, resumed, lost, slow];
    assert!(all.iter().all(|count| *count > 100), "{all:?}");
}

/// Returns the range in `MODEL_SEEDS`, or the first seeds.
fn seeds() -> std::ops::Range<u64> {
    #[expect(clippy::disallowed_methods, reason = "an option of tests, no setting of the service")]
    let Ok(text) = std::env::var("MODEL_SEEDS") else { return 0..2_000 };
    let (first, end) = text.split_once("..").expect("MODEL_SEEDS=FIRST..END");
    first.parse().expect("a first seed")..end.parse().expect("an end")
}

/// What the clients of a schedule were told.
#[derive(Debug, Default)]
struct Told {
    changes: usize,
    checkpoints: usize,
    resumed: usize,
    lost: usize,
    slow: usize,
}

impl Told {
    fn add(&mut self, other: Self) {
        self.changes += other.changes;
        self.checkpoints += other.checkpoints;
        self.resumed += other.resumed;
        self.lost += other.lost;
        self.slow += other.slow;
    }
}

/// The stream of the store.
struct Store {
    run: String,
    /// The number of the last event.
    number: u64,
    milliseconds: u64,
    events: Vec<(Place, Option<(Changed, Change)>)>,
}

/// A replica, and how far it has read.
struct Replica {
    changes: Changes,
    read: Place,
    run: String,
}

/// A client, and what it must still hear of: for each user the time of the last change.
struct Client {
    user: Option<usize>,
    replica: usize,
    stream: Option<Subscription>,
    token: String,
    missing: BTreeMap<usize, SystemTime>,
}

impl Store {
    fn publish(&mut self, change: Option<(Changed, Change)>) {
        self.number += 1;
        self.milliseconds += fastrand::u64(1..5);
        let place = Place { number: self.number, id: EventId(self.milliseconds, 0) };
        self.events.push((place, change));
    }

    /// Loses everything, also the last number.
    fn flush(&mut self) {
        self.number = 0;
        self.events.clear();
        self.milliseconds += 1_000;
    }

    /// Another server goes on, which has not got the last events, and whose clock may be behind.
    fn fail_over(&mut self) {
        self.run = format!("run {}", fastrand::u64(..));
        let lost = fastrand::usize(0..4).min(self.events.len());
        self.events.truncate(self.events.len() - lost);
        self.number -= lost as u64;
        if let Some((last, _)) = self.events.last() {
            self.milliseconds = last.id.0;
        }
    }

    fn end(&self) -> Place {
        let last = self.events.last().map(|(place, _)| place.id);
        Place { number: self.number, id: last.unwrap_or_else(|| EventId::at(self.milliseconds)) }
    }
}

impl Replica {
    fn start(store: &Store) -> Self {
        let settings = WatchSettings { streams: 1_000, streams_per_caller: 1_000, ..Default::default() };
        let changes =
            Changes::start(&settings, Some(sealer("model", &["model"])), &Metrics::new().watch).unwrap();
        changes.begin(&store.run, store.end(), store.events.clone());
        Self { changes, read: store.end(), run: store.run.clone() }
    }

    /// Reads up to `most` events, as the follower of the stream does.
    fn read(&mut self, store: &Store, most: usize) {
        let is_silent = store.events.is_empty() && self.read.number != store.number;
        if self.run != store.run || self.read.number > store.number || is_silent {
            self.changes.lose_until(&store.run, store.end());
            (self.run, self.read) = (store.run.clone(), store.end());
            return;
        }
        let after = self.read.id;
        for (place, change) in store.events.iter().filter(|(place, _)| place.id > after).take(most) {
            match place.number == self.read.number + 1 {
                true => self.changes.append_event(*place, change.clone()),
                false => self.changes.lose_until(&store.run, *place),
            }
            self.read = *place;
        }
        if self.read.number == store.number {
            self.changes.note_read(TimePoint::now(), Some(store.milliseconds + 1));
        }
    }
}

impl Client {
    /// Opens a stream with the last token, or from now.
    async fn open(&mut self, replicas: &[Replica], told: &mut Told) {
        let subs = self.user.iter().map(|n| user(*n).1).collect();
        let filter = WatchFilter { pool: Some(user(0).0), subs, kinds: ChangeKinds::ALL };
        let resume_token = self.token.clone();
        let watcher = Watcher { caller: Arc::from("web"), filter, resume_token };
        match replicas[self.replica].changes.open(watcher).await {
            Ok(stream) => {
                told.resumed += usize::from(!self.token.is_empty());
                self.stream = Some(stream);
                let first = self.next(Instant::now()).expect("a first message");
                let is_first = matches!(first, Ok(Item::Checkpoint(_)) | Err(StreamEnd::Lost));
                assert!(is_first, "the first message is a checkpoint");
                self.hear(first, told);
            }
            Err(OpenError::TokenExpired) => self.forget(told),
            Err(error) => panic!("{error:?}"),
        }
    }

    fn next(&self, checkpoint_at: Instant) -> Option<Result<Item, StreamEnd>> {
        self.stream.as_ref()?.next(checkpoint_at).now_or_never()
    }

    fn hear(&mut self, item: Result<Item, StreamEnd>, told: &mut Told) {
        match item {
            Ok(Item::Change(Delivery { sub, change, resume_token, .. })) => {
                told.changes += 1;
                let n = sub.as_str().parse().unwrap();
                assert!(self.user.is_none_or(|own| own == n), "a change of another user");
                if self.missing.get(&n).is_some_and(|last| *last <= change.seen_at) {
                    self.missing.remove(&n);
                }
                self.token = resume_token;
            }
            Ok(Item::Checkpoint(CheckpointInfo { seen_through, resume_token, .. })) => {
                told.checkpoints += 1;
                let ahead: Vec<_> = self.missing.iter().filter(|(_, at)| **at <= seen_through).collect();
                assert!(ahead.is_empty(), "a checkpoint at {seen_through:?} is ahead of {ahead:?}");
                self.token = resume_token;
            }
            Err(StreamEnd::Lost) => self.forget(told),
            Err(StreamEnd::TooSlow) => {
                told.slow += 1;
                self.stream = None;
            }
            Err(StreamEnd::Moved) => self.stream = None,
        }
    }

    /// Forgets all copies, so earlier changes do not matter any more.
    fn forget(&mut self, told: &mut Told) {
        told.lost += 1;
        self.stream = None;
        self.missing.clear();
        self.token.clear();
    }
}

async fn play() -> Told {
    let mut store = Store { run: "first".to_owned(), number: 100, milliseconds: 1_000, events: Vec::new() };
    let mut replicas: Vec<_> = (0..3).map(|_| Replica::start(&store)).collect();
    let mut clients: Vec<_> = (0..4)
        .map(|n| Client {
            user: (n % 2 == 0).then_some(n),
            replica: fastrand::usize(..3),
            stream: None,
            token: String::new(),
            missing: BTreeMap::new(),
        })
        .collect();
    let mut told = Told::default();
    let users = if fastrand::u8(0..20) == 0 { 3_000 } else { 6 };
    for _ in 0..fastrand::usize(20..80) {
        advance(Duration::from_millis(fastrand::u64(0..3_000))).await;
        step(&mut store, &mut replicas, &mut clients, users, &mut told).await;
    }
    settle(&store, &mut replicas, &mut clients, &mut told).await;
    told
}

async fn step(
    store: &mut Store,
    replicas: &mut [Replica],
    clients: &mut [Client],
    users: usize,
    told: &mut Told,
) {
    let (at, who) = (fastrand::usize(..replicas.len()), fastrand::usize(..clients.len()));
    match fastrand::u8(0..24) {
        0..=5 => (0..fastrand::usize(1..8)).for_each(|_| change(store, clients, fastrand::usize(..users))),
        6 if users > 6 => (0..2_500).for_each(|n| change(store, clients, n)),
        6 if fastrand::u8(0..8) == 0 => change_unnamed(store, clients, users),
        6 => store.publish(None),
        7..=10 => replicas[at].read(store, fastrand::usize(1..20)),
        11 => replicas.iter_mut().for_each(|replica| replica.read(store, usize::MAX)),
        // A GOAWAY: the client continues elsewhere.
        12..=14 => {
            clients[who].stream = None;
            clients[who].replica = at;
        }
        // A trim: a replica that is behind misses events.
        15 if !store.events.is_empty() => {
            drop(store.events.drain(..fastrand::usize(..store.events.len())));
        }
        // Silence, after which no event is kept.
        15 if fastrand::bool() => {
            advance(KEPT_FOR + Duration::from_secs(1)).await;
            store.milliseconds += 1_201_000;
            store.events.clear();
        }
        // A restart of a replica.
        16 => {
            clients.iter_mut().filter(|client| client.replica == at).for_each(|client| client.stream = None);
            replicas[at] = Replica::start(store);
        }
        // A failover, or a store that was emptied.
        17 if fastrand::bool() => {
            // Once: the numbers from before must not come again.
            match store.number > 100 && store.run == "first" && fastrand::bool() {
                true => store.flush(),
                false => store.fail_over(),
            }
        }
        _ => {
            let client = &mut clients[who];
            if client.stream.is_none() {
                client.open(replicas, told).await;
                if client.token.is_empty() {
                    return;
                }
            }
            // A slow reader takes little.
            for _ in 0..fastrand::usize(0..6) {
                let due = Instant::now() + Duration::from_secs(u64::from(fastrand::bool()));
                let Some(item) = client.next(due) else { break };
                client.hear(item, told);
            }
        }
    }
}

/// Changes a user. Every client with a copy must receive the change, or `OUT_OF_RANGE`.
fn change(store: &mut Store, clients: &mut [Client], n: usize) {
    let seen_at = TimePoint::now().system;
    store.publish(Some((user(n).into(), Change::seen(ChangeKind::Attributes, seen_at))));
    for client in clients.iter_mut().filter(|client| client.user.is_none_or(|own| own == n)) {
        // Without a token it has no copies.
        if !client.token.is_empty() {
            client.missing.insert(n, seen_at);
        }
    }
}

/// Unknown users of the pool change.
fn change_unnamed(store: &mut Store, clients: &mut [Client], users: usize) {
    let seen_at = TimePoint::now().system;
    store.publish(Some((Changed::SomeOf(user(0).0), Change::seen(ChangeKind::Groups, seen_at))));
    for client in clients.iter_mut().filter(|client| !client.token.is_empty()) {
        let own = client.user.map_or(0..users, |own| own..own + 1);
        client.missing.extend(own.map(|n| (n, seen_at)));
    }
}

/// Lets everything arrive. Then no client may miss anything.
async fn settle(store: &Store, replicas: &mut [Replica], clients: &mut [Client], told: &mut Told) {
    for _ in 0..4 {
        replicas.iter_mut().for_each(|replica| replica.read(store, usize::MAX));
        for client in clients.iter_mut() {
            if client.stream.is_none() {
                client.open(replicas, told).await;
            }
            while let Some(item) = client.next(Instant::now() + Duration::from_secs(60)) {
                client.hear(item, told);
            }
        }
    }
    for client in clients {
        assert!(client.missing.is_empty(), "missed in silence: {:?}", client.missing);
    }
}

fn user(n: usize) -> ChangedUser {
    ("eu-west-1_A".parse().unwrap(), n.to_string().parse().unwrap())
}
