//! Three replicas under reads, writes, revocations and faults in random turns, for as long as
//! `SOAK_MINUTES` says. Reads are checked for the right user, their freshness and revoked tokens; those on
//! a new connection for the user only, and cancelled reads not at all. Watchers that move between the
//! replicas must hear of every sign-out that reached all replicas, or get a gap. No replica may accept a token
//! after its watcher heard of the sign-out.
//!
//! `tests/run soak MINUTES` runs it, and prints its report.

mod book;
mod client;
mod faults;
mod footprint;
mod tally;
mod watcher;

use std::{env, time::Duration};

use futures_util::future::join_all;
use tokio::time::{Instant, sleep};

use self::{book::Book, client::Client, faults::Turn, footprint::Footprint, tally::Tally, watcher::Watcher};
use super::{fleet::Fleet, limit::received::Received, settings::Settings};
use crate::{
    store::server::{Engine, Mode, Server},
    support::certificates::{Authority, client_config},
};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes SOAK_MINUTES, and needs the machine for itself"]
async fn three_replicas_keep_every_promise_whatever_fails() {
    let length = Duration::from_secs_f64(60.0 * setting("SOAK_MINUTES", 1.0));
    let mut random = fastrand::Rng::with_seed(setting("SOAK_SEED", 1.0) as u64);
    let mut store = Server::start_with(Engine::Valkey, Mode::Plain, "maxmemory-policy noeviction").await;
    let authority = Authority::new("replicas");
    let fleet = start(&store, &authority).await;
    let (book, tally, begun) = (Book::default(), Tally::default(), Instant::now());
    book.write_all(&fleet.cognito);
    let clients = (0..CLIENTS).map(|_| Client::new(&fleet, &book, &tally, random.fork()).run());
    let clients: Vec<_> = clients.collect();
    let watchers: Vec<_> = (0..book::WATCHERS)
        .map(|number| Watcher::new(number, &fleet, &book, &tally, random.fork()).run())
        .collect();
    let mut footprint = Footprint::default();
    let faults = async {
        while begun.elapsed() < length {
            let turn = Turn::any(&mut random);
            turn.begin(&mut store, &fleet, &authority).await;
            sleep(FAULT).await;
            turn.end(&mut store, &fleet).await;
            let ended = Instant::now();
            let recovered = faults::recovered(&fleet, RECOVERY).await;
            let recovered =
                recovered.unwrap_or_else(|what| panic!("after {turn:?}: not {what} in {RECOVERY:?}"));
            tally.recovered(recovered);
            book.settled(ended);
            let heard =
                faults::wait("told", Instant::now(), RECOVERY, async || book.is_heard_until(ended)).await;
            heard.unwrap_or_else(|_| {
                panic!("after {turn:?}: a watcher has not heard of a sign-out within {RECOVERY:?}")
            });
            sleep(REST).await;
            footprint.sample(&fleet, begun.elapsed());
        }
    };
    tokio::select! {
        _ = join_all(clients) => panic!("the clients have ended"),
        _ = join_all(watchers) => panic!("the watchers have ended"),
        () = faults => {}
    }
    report(&fleet, begun, &tally, &footprint);
}

#[expect(clippy::print_stdout, reason = "it is a report")]
fn report(fleet: &Fleet, begun: Instant, tally: &Tally, footprint: &Footprint) {
    let most = Received::by(&[&fleet.cognito]).most(&(begun..Instant::now()));
    println!("{:.1?} on three replicas\n{tally}", begun.elapsed());
    println!(
        "calls to Cognito in a second: at most {most}; the limit is {LIMIT}, {ALLOWED} without the store"
    );
    println!("{footprint}");
    assert!(most <= ALLOWED, "{most} calls in a second");
    // Two faults of five are of the store.
    let gaps = tally.get("watch", "RESUME_TOKEN_EXPIRED");
    assert!(gaps <= book::WATCHERS * tally.faults(), "{gaps} gaps of streams");
    footprint.assert_flat();
}

async fn start(store: &Server, authority: &Authority) -> Fleet {
    let mut fleet = Fleet::without_replicas(store.address);
    fleet.write_keys(["one", "two"]);
    faults::write_certificate(&fleet, authority);
    let [certificate, key] = ["server.pem", "server.key"].map(|name| fleet.path(name));
    let settings = Settings {
        value_keys: vec!["keys/first", "keys/second"],
        cache: format!("fresh_for = \"2s\"\nusable_for = \"{}s\"\n", book::USABLE_FOR.as_secs()),
        shared_cache: "replicas_at_most = 3\ntimeout = \"250ms\"\n".to_owned(),
        budget: format!("user_reads_per_second = {LIMIT}\n"),
        tables: format!("[audit]\nsink = \"off\"\n[tls]\ncertificate = {certificate:?}\nkey = {key:?}\n"),
        client_tls: Some(client_config(&[authority], None)),
        watch: true,
        ..Settings::default()
    };
    for _ in 0..book::REPLICAS {
        fleet.join(&settings).await;
    }
    fleet.connected().await;
    fleet
}

fn setting(name: &str, default: f64) -> f64 {
    #[expect(clippy::disallowed_methods, reason = "a setting of the test")]
    let text = env::var(name);
    text.map_or(default, |text| text.parse().unwrap())
}

const CLIENTS: usize = 8;
const LIMIT: usize = 48;
/// With the allowances of three replicas that do not reach the store.
const ALLOWED: usize = LIMIT + LIMIT / 4;
const FAULT: Duration = Duration::from_secs(3);
const RECOVERY: Duration = Duration::from_secs(10);
const REST: Duration = Duration::from_secs(1);
