use std::time::Duration;

use cognito_lookup::proto::{EntryState, SharedEntryState, Source};
use futures_util::future::{join_all, try_join_all};
use tokio::time::sleep;
use tonic::Code;

use super::{
    fleet::{Fleet, sub},
    replica::until,
    settings::Settings,
};
use crate::{
    store::{
        proxy::Fault,
        server::{Engine, Server},
    },
    support::failure,
};

#[tokio::test(flavor = "multi_thread")]
async fn the_next_read_on_every_replica_sees_an_expiry_and_an_erasure() {
    let store = Server::start(Engine::Valkey).await;
    let fleet = Fleet::start(&store, &Settings::default()).await;
    let user = sub(0);
    for (n, by) in fleet.replicas.iter().enumerate() {
        for is_erasure in [false, true] {
            fleet.warm(0..1).await;
            let (name, calls) = (format!("Name {n} {is_erasure}"), fleet.lookups());
            fleet.rename(&user, &name);
            if is_erasure {
                let receipt = by.erase(&user).await.unwrap();
                assert!(receipt.reached_all_replicas && receipt.entries == 1, "{receipt:?}");
            } else {
                assert!(by.expire(&user).await.unwrap());
            }
            // Long before the TTL.
            for replica in &fleet.replicas {
                until("seen", async || replica.name(&user).await == name).await;
            }
            assert_eq!(fleet.lookups(), calls + 1, "one of them asked");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_user_is_nowhere() {
    let store = Server::start(Engine::Valkey).await;
    let fleet = Fleet::start(&store, &Settings::default()).await;
    fleet.warm(0..1).await;
    fleet.replicas[0].erase(&sub(0)).await.unwrap();
    for replica in &fleet.replicas {
        let state = async || replica.inspect(&sub(0)).await;
        until("gone", async || state().await.state() == EntryState::Unspecified).await;
        assert_eq!(replica.shared_state(&sub(0)).await, SharedEntryState::NotCached);
    }
    // Nothing of it is served in an outage either.
    fleet.cognito.stop().unwrap();
    for replica in &fleet.replicas {
        assert_eq!(replica.get(&sub(0)).await.unwrap_err().code(), Code::Unavailable);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_store_the_local_part_is_done_and_may_be_repeated() {
    let store = Server::start(Engine::Valkey).await;
    let fleet = Fleet::start_some(2, &store, &Settings::default()).await;
    let [first, last] = &fleet.replicas[..] else { panic!() };
    fleet.warm(0..2).await;
    fleet.fault(Fault::Refuse);
    fleet.disconnected().await;
    let refused = (Code::Unavailable, "SHARED_CACHE_UNAVAILABLE".to_owned());
    assert_eq!(failure(&first.expire(&sub(0)).await.unwrap_err()), refused);
    assert_eq!(failure(&first.erase(&sub(1)).await.unwrap_err()), refused);
    let states = async || {
        let inspected = [(first, 0), (first, 1), (last, 0), (last, 1)]
            .map(|(replica, user)| async move { replica.inspect(&sub(user)).await.state() });
        join_all(inspected).await
    };
    let (fresh, stale, none) = (EntryState::Fresh, EntryState::Stale, EntryState::Unspecified);
    assert_eq!(states().await, [stale, none, fresh, fresh]);
    assert_eq!(first.shared_state(&sub(0)).await, SharedEntryState::Unavailable);
    fleet.fault(Fault::Pass);
    fleet.connected().await;
    assert!(first.expire(&sub(0)).await.unwrap());
    assert!(first.erase(&sub(1)).await.unwrap().reached_all_replicas);
    until("told", async || states().await == [stale, none, stale, none]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn inspect_shows_what_the_store_has() {
    let store = Server::start(Engine::Valkey).await;
    let mut fleet = Fleet::start_some(2, &store, &Settings::default()).await;
    fleet.join(&Settings { value_keys: vec!["other"], ..Settings::default() }).await;
    fleet.connected().await;
    let [first, second, other] = &fleet.replicas[..] else { panic!() };
    let (user, nobody) = (sub(0), "5eeded00-0000-4000-8000-nobody");
    assert_eq!(second.shared_state(&user).await, SharedEntryState::NotCached);
    let held = fleet.cognito.hold("AdminGetUser");
    let inspected = async {
        fleet.cognito.wait_for_calls("AdminGetUser", 1).await;
        let state = second.shared_state(&user).await;
        held.release();
        state
    };
    let (read, state) = tokio::join!(first.get(&user), inspected);
    assert_eq!((read.is_ok(), state), (true, SharedEntryState::Fetching));
    assert_eq!(second.shared_state(&user).await, SharedEntryState::Cached);
    assert_eq!(other.shared_state(&user).await, SharedEntryState::Unreadable);
    let entry = second.inspect(&user).await;
    assert_eq!(entry.state(), EntryState::Unspecified, "this replica has not read it");
    let freshness = entry.shared_entry.unwrap().freshness.unwrap();
    assert_eq!(freshness.source(), Source::SharedCache);
    first.expire(&user).await.unwrap();
    assert_eq!(second.shared_state(&user).await, SharedEntryState::Expired);
    first.get(nobody).await.unwrap_err();
    assert_eq!(second.shared_state(nobody).await, SharedEntryState::Absent);
}

/// The connection of the events is held and then cut, and what it missed is trimmed.
#[tokio::test(flavor = "multi_thread")]
async fn no_old_user_is_served_after_events_were_missed() {
    let store = Server::start(Engine::Valkey).await;
    let fleet = Fleet::start_some(2, &store, &Settings::default()).await;
    let [first, last] = &fleet.replicas[..] else { panic!() };
    fleet.warm(0..EXPIRED).await;
    fleet.proxies[1].set(Fault::HoldEvents);
    for n in 0..EXPIRED {
        fleet.rename(&sub(n), "New Name");
    }
    for users in (0..EXPIRED).collect::<Vec<_>>().chunks(20) {
        try_join_all(users.iter().map(async |n| first.expire(&sub(*n)).await)).await.unwrap();
    }
    store.client().await.command("XTRIM cl:e1:{e}:s MAXLEN 0").await.unwrap();
    // What is held is lost before anything passes again.
    let (connections, applied) =
        (fleet.proxies[1].connections(), last.metric("events_applied_total", "").await);
    fleet.proxies[1].cut();
    until("connected again", async || fleet.proxies[1].connections() >= connections + 2).await;
    fleet.proxies[1].set(Fault::Pass);
    fleet.connected().await;
    assert_eq!(last.metric("events_applied_total", "").await, applied);
    until("confirming", async || last.name(&sub(0)).await == "New Name").await;
    for n in 1..EXPIRED {
        assert_eq!(last.name(&sub(n)).await, "New Name", "{n}");
    }
}

/// A store that loses the event and the invalidation too. Then only the TTL ends what the others have.
#[tokio::test(flavor = "multi_thread")]
async fn if_the_store_loses_everything_the_ttl_ends_what_is_old() {
    let store = Server::start(Engine::Valkey).await;
    let fleet = Fleet::start_some(2, &store, &Settings::fresh_for("6s")).await;
    let [first, last] = &fleet.replicas[..] else { panic!() };
    fleet.warm(0..1).await;
    fleet.proxies[1].set(Fault::Refuse);
    until("disconnected", async || !last.is_connected().await).await;
    fleet.rename(&sub(0), "New Name");
    assert!(first.expire(&sub(0)).await.unwrap());
    store.client().await.text("FLUSHALL").await;
    fleet.proxies[1].set(Fault::Pass);
    until("connected", async || last.is_connected().await).await;
    let was_old = last.name(&sub(0)).await != "New Name";
    sleep(Duration::from_millis(6_600)).await;
    assert_eq!(last.name(&sub(0)).await, "New Name");
    assert!(was_old, "the store told it after all");
}

/// How many users are expired.
const EXPIRED: usize = 200;
