use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use cognito_lookup::proto::{ExpireUserRequest, WatchUsersRequest, admin_service_client::AdminServiceClient};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use tonic::{Code, transport::Channel};

use super::{
    fleet::{Fleet, sub},
    settings::Settings,
};
use crate::{
    store::{
        proxy::Fault,
        server::{Engine, Server},
    },
    support::{connect, failure},
    watch::Watch,
};

fn watching() -> Settings {
    Settings { watch: true, ..Settings::default() }
}

/// A client moves from replica to replica while they expire users, one of which is new and one ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_moves_between_replicas_misses_nothing() {
    let store = Server::start(Engine::Valkey).await;
    let mut fleet = Fleet::start(&store, &watching()).await;
    let mut watch = Watch::open(&fleet.replicas[0].channel, WatchUsersRequest::default()).await.unwrap();
    let (mut heard, mut expired) = (BTreeSet::new(), BTreeSet::new());
    for round in 0..12 {
        if round == 4 {
            // One that starts now reads what it has missed.
            fleet.join(&watching()).await;
            fleet.connected().await;
        }
        if round == 8 {
            fleet.replicas.remove(0).stopped();
        }
        let count = fleet.replicas.len();
        // Some while it listens, and some while it moves.
        for n in 0..10 {
            let user = sub(100 + round * 20 + n);
            assert!(fleet.replicas[(round + n) % count].expire(&user).await.unwrap());
            expired.insert(user);
        }
        if round % 2 == 0 {
            heard.insert(watch.change().await.sub);
        }
        let token = watch.token.clone();
        drop(watch);
        for n in 10..20 {
            let user = sub(100 + round * 20 + n);
            assert!(fleet.replicas[n % count].expire(&user).await.unwrap());
            expired.insert(user);
        }
        let again = WatchUsersRequest { resume_token: token, ..WatchUsersRequest::default() };
        watch = Watch::open(&fleet.replicas[(round + 1) % count].channel, again).await.unwrap();
    }
    let begun = Instant::now();
    while !expired.is_subset(&heard) {
        assert!(begun.elapsed() < Duration::from_secs(40), "{} of {}", heard.len(), expired.len());
        heard.insert(watch.change().await.sub);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_was_emptied_or_replaced_is_no_silent_gap() {
    let store = Server::start(Engine::Valkey).await;
    let mut fleet = Fleet::start_some(2, &store, &watching()).await;
    let channel = fleet.replicas[1].channel.clone();
    let watch = Watch::open(&channel, WatchUsersRequest::default()).await.unwrap();
    store.client().await.text("FLUSHALL").await;
    let (status, token) = watch.end().await;
    let lost = (Code::OutOfRange, "RESUME_TOKEN_EXPIRED".to_owned());
    assert_eq!(failure(&status), lost);
    let again =
        |token: &str| WatchUsersRequest { resume_token: token.into(), ..WatchUsersRequest::default() };
    for replica in &fleet.replicas {
        let refused = Watch::open(&replica.channel, again(&token)).await.map(drop).unwrap_err();
        assert_eq!(failure(&refused), lost);
    }
    // Without the token it goes on, and no token from before is ever taken again.
    let mut watch = Watch::open(&channel, WatchUsersRequest::default()).await.unwrap();
    for n in 0..20 {
        fleet.replicas[0].expire(&sub(n)).await.unwrap();
    }
    assert_eq!(watch.change().await.sub, sub(0));
    assert_eq!(failure(&Watch::open(&channel, again(&token)).await.map(drop).unwrap_err()), lost);
    let other = Server::start(Engine::Valkey).await;
    fleet.fault(Fault::Refuse);
    fleet.disconnected().await;
    fleet.lead_to(other.address);
    fleet.fault(Fault::Pass);
    let (status, _) = watch.end().await;
    assert_eq!(failure(&status), lost);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_replica_finds_by_a_fetch_the_watchers_of_the_others_hear() {
    let store = Server::start(Engine::Valkey).await;
    let settings = Settings { watch: true, ..Settings::fresh_for("200ms") };
    let fleet = Fleet::start_some(2, &store, &settings).await;
    let mut watch = Watch::open(&fleet.replicas[1].channel, WatchUsersRequest::default()).await.unwrap();
    fleet.replicas[0].get(&sub(3)).await.unwrap();
    fleet.rename(&sub(3), "Changed");
    sleep(Duration::from_millis(300)).await;
    fleet.replicas[0].get(&sub(3)).await.unwrap();
    let change = watch.change().await;
    assert_eq!((change.sub.as_str(), change.kinds.as_slice()), (&*sub(3), &[1][..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_that_goaway_moves_between_replicas_misses_nothing() {
    let moved = Moved { age: "500ms", moves: 6, pause: Duration::from_millis(5) };
    assert!(moved.run().await >= moved.moves);
}

/// The same for a minute, with figures. Run it alone:
/// `cargo test --test integration -- --ignored --nocapture a_minute_of_goaway`
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a minute"]
async fn a_minute_of_goaway_every_five_seconds_and_nothing_is_missed() {
    let moved = Moved { age: "5s", moves: 12, pause: Duration::from_millis(2) };
    let begun = Instant::now();
    let changes = moved.run().await;
    println!("{changes} changes in {:?}, {} moves, none missed", begun.elapsed(), moved.moves);
}

/// A watcher whose connection every replica closes at an age, while all of them expire users.
struct Moved {
    age: &'static str,
    moves: usize,
    /// The pause between two changes.
    pause: Duration,
}

impl Moved {
    /// Returns how many users changed. Panics if the watcher missed one, or if it was told to forget.
    async fn run(&self) -> usize {
        let store = Server::start(Engine::Valkey).await;
        let tables = format!("[limits]\nconnection_age = {:?}\n", self.age);
        let fleet = Fleet::start(&store, &Settings { tables, ..watching() }).await;
        let channels = fleet.replicas.iter().map(|replica| replica.channel.clone()).collect();
        let mut watch = Watch::open(&fleet.replicas[0].channel, WatchUsersRequest::default()).await.unwrap();
        let is_over = Arc::new(AtomicBool::new(false));
        let mut changing = JoinSet::new();
        changing.spawn(change(channels, Arc::clone(&is_over), self.pause));
        let mut heard = BTreeSet::new();
        for moves in 1..=self.moves {
            let (status, token) = watch.hear_until_end(&mut heard).await;
            assert_eq!(failure(&status), (Code::Unavailable, "WATCH_ENDED".to_owned()), "move {moves}");
            let replica = &fleet.replicas[moves % fleet.replicas.len()];
            let again = WatchUsersRequest { resume_token: token, ..WatchUsersRequest::default() };
            watch =
                Watch::open(&connect(replica.process.address.parse().unwrap()).await, again).await.unwrap();
        }
        is_over.store(true, Relaxed);
        let changed = changing.join_next().await.unwrap().unwrap();
        while !changed.is_subset(&heard) {
            heard.insert(watch.change().await.sub);
        }
        changed.len()
    }
}

/// Expires users, each once, on one replica after the other.
async fn change(channels: Vec<Channel>, is_over: Arc<AtomicBool>, pause: Duration) -> BTreeSet<String> {
    let mut changed = BTreeSet::new();
    while !is_over.load(Relaxed) {
        let user = sub(1_000 + changed.len());
        let mut replica = AdminServiceClient::new(channels[changed.len() % channels.len()].clone());
        let request = ExpireUserRequest { sub: user.clone(), ..ExpireUserRequest::default() };
        // A connection that ends in between refuses the call.
        while replica.expire_user(request.clone()).await.is_err() {}
        changed.insert(user);
        sleep(pause).await;
    }
    changed
}
