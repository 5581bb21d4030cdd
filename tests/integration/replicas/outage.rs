use std::time::Duration;

use cognito_lookup::proto::Source;
use futures_util::future::join_all;
use tokio::time::sleep;
use tonic::Code;

use super::{
    fleet::{Fleet, sub},
    load::{Load, WARM},
    replica::until,
    settings::Settings,
};
use crate::{
    store::{
        proxy::Fault,
        server::{Engine, Mode, Server},
    },
    support::{failure, source},
};

/// A fault of the store, in the rows of the table in `docs/replicas.md`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Outage {
    Killed,
    Frozen,
    /// 30 ms each call.
    Slow,
    /// It takes what is sent, and answers nothing.
    Silent,
    /// The network refuses connections.
    Unreachable,
    Full,
    /// Its data is gone, and the scripts that it knew.
    Flushed,
}

#[tokio::test(flavor = "multi_thread")]
async fn no_read_fails_when_the_store_dies_or_stops_or_is_slow() {
    let table = [Outage::Killed, Outage::Frozen, Outage::Slow, Outage::Silent];
    no_read_fails(&table).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_read_fails_when_the_store_is_unreachable_or_full_or_empty() {
    no_read_fails(&[Outage::Unreachable, Outage::Full, Outage::Flushed]).await;
}

async fn no_read_fails(outages: &[Outage]) {
    let mut store = Server::start_with(Engine::Valkey, Mode::Plain, "maxmemory-policy noeviction").await;
    let fleet = Fleet::start(&store, &Settings::of_production()).await;
    let load = Load::start(&fleet).await;
    let mut unread = WARM..;
    sleep(WHILE).await;
    load.assert_none_failed("before").await;
    for outage in outages {
        // So that its stream is not empty.
        fleet.replicas[0].expire_everywhere(&sub(1_999)).await;
        let (gaps, calls) = (fleet.sum("gaps_total", "").await, fleet.lookups());
        outage.begin(&mut store, &fleet).await;
        match outage {
            Outage::Flushed => {
                until("noticed", async || fleet.sum("gaps_total", "").await >= gaps + 3.0).await
            }
            Outage::Slow => {
                // Enough calls to judge by.
                let cold: Vec<_> = unread.by_ref().take(40).map(sub).collect();
                let reads = fleet.replicas.iter().flat_map(|replica| cold.iter().map(|sub| replica.get(sub)));
                assert!(join_all(reads).await.iter().all(Result::is_ok));
                fleet.disconnected().await;
            }
            _ => fleet.disconnected().await,
        }
        sleep(WHILE).await;
        load.assert_none_failed(&format!("while {outage:?}")).await;
        outage.end(&mut store, &fleet).await;
        fleet.connected().await;
        fleet.shares(&mut unread).await;
        load.assert_none_failed(&format!("after {outage:?}")).await;
        assert!(fleet.lookups() > calls, "{outage:?}: the load has misses");
    }
}

impl Outage {
    pub(super) const ALL: [Self; 7] =
        [Self::Killed, Self::Frozen, Self::Slow, Self::Silent, Self::Unreachable, Self::Full, Self::Flushed];

    pub(super) async fn begin(self, store: &mut Server, fleet: &Fleet) {
        match self {
            Self::Killed => store.kill(),
            Self::Frozen => store.freeze(),
            // Each way.
            Self::Slow => fleet.fault(Fault::Delay(Duration::from_millis(15))),
            Self::Silent => fleet.fault(Fault::Hold),
            Self::Unreachable => fleet.fault(Fault::Refuse),
            Self::Full => drop(store.client().await.text("CONFIG SET maxmemory 1").await),
            Self::Flushed => {
                for command in ["FLUSHALL", "SCRIPT FLUSH"] {
                    store.client().await.text(command).await;
                }
            }
        }
    }

    pub(super) async fn end(self, store: &mut Server, fleet: &Fleet) {
        match self {
            Self::Killed => store.restart().await,
            Self::Frozen => store.thaw(),
            Self::Slow | Self::Silent | Self::Unreachable => fleet.fault(Fault::Pass),
            Self::Full => drop(store.client().await.text("CONFIG SET maxmemory 0").await),
            Self::Flushed => {}
        }
    }
}

/// The control: the load notices an outage that does matter.
#[tokio::test(flavor = "multi_thread")]
async fn the_load_sees_reads_that_fail() {
    let store = Server::start(Engine::Valkey).await;
    let fleet = Fleet::start_some(1, &store, &Settings::default()).await;
    let load = Load::start(&fleet).await;
    fleet.cognito.stop().unwrap();
    until("failed", async || load.failures().await.contains(&Code::Unavailable)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_is_cut_off_serves_on_and_hears_everything_on_its_return() {
    let store = Server::start(Engine::Valkey).await;
    let fleet = Fleet::start(&store, &Settings::of_production()).await;
    let load = Load::start(&fleet).await;
    let [first, _, last] = &fleet.replicas[..] else { panic!() };
    fleet.proxies[2].set(Fault::Refuse);
    until("disconnected", async || !last.is_connected().await).await;
    let user = sub(0);
    fleet.rename(&user, "New Name");
    first.expire_everywhere(&user).await;
    // It tells no other replica, and says so.
    let failed = last.expire(&sub(1)).await.unwrap_err();
    assert_eq!(failure(&failed), (Code::Unavailable, "SHARED_CACHE_UNAVAILABLE".to_owned()));
    assert_eq!(source(&last.get(&sub(2)).await.unwrap()), Source::Cache);
    load.assert_none_failed("while cut off").await;
    fleet.proxies[2].set(Fault::Pass);
    until("connected", async || last.is_connected().await).await;
    // Long before its TTL ends.
    until("told", async || last.name(&user).await == "New Name").await;
    load.assert_none_failed("on its return").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_with_another_key_fetches_for_itself() {
    let store = Server::start(Engine::Valkey).await;
    let mut fleet = Fleet::start_some(2, &store, &Settings::default()).await;
    fleet.join(&Settings { value_keys: vec!["other"], ..Settings::default() }).await;
    fleet.connected().await;
    let load = Load::start(&fleet).await;
    let [first, second, last] = &fleet.replicas[..] else { panic!() };
    let user = sub(100);
    let sources = [first, last, second, last].map(|replica| replica.get(&user));
    let mut seen = Vec::new();
    for read in sources {
        seen.push(source(&read.await.unwrap()));
    }
    // It replaces nothing that the others can read.
    assert_eq!(seen, [Source::Cognito, Source::Cognito, Source::SharedCache, Source::Cache]);
    assert!(last.metric("unreadable_total", "reason=\"Key\"").await >= 1.0);
    // It cannot read the event, but sees that there was one.
    fleet.rename(&user, "New Name");
    first.expire(&user).await.unwrap();
    until("told", async || last.name(&user).await == "New Name").await;
    load.assert_none_failed("with another key").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_all_replicas_calls_nobody() {
    let store = Server::start(Engine::Valkey).await;
    let settings = Settings::default();
    let mut fleet = Fleet::start(&store, &settings).await;
    for n in 0..100 {
        fleet.replicas[n % 3].get(&sub(n)).await.unwrap();
    }
    assert_eq!(fleet.lookups(), 100);
    fleet.replicas.clear();
    fleet.start_replicas(&settings).await;
    fleet.connected().await;
    fleet.warm(0..100).await;
    assert_eq!(fleet.lookups(), 100);
}

const WHILE: Duration = Duration::from_millis(500);
