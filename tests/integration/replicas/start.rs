use std::time::Duration;

use cognito_lookup::proto::Source;
use tokio::time::Instant;

use super::{
    fleet::{Fleet, sub},
    insider::Insider,
    load::WARM,
    replica::{Replica, until},
    settings::Settings,
};
use crate::{
    scripts::commands::acl,
    store::{
        proxy::{Fault, Proxy},
        server::{Engine, Mode, Server},
    },
    support::source,
};

#[tokio::test(flavor = "multi_thread")]
async fn replicas_share_by_every_engine_and_with_the_documented_acl() {
    for (engine, has_acl) in
        [(Engine::Valkey, false), (Engine::Valkey, true), (Engine::Redis, false), (Engine::Redis, true)]
    {
        let server = Server::start(engine).await;
        let mut fleet = Fleet::without_replicas(server.address);
        fleet.write("password", "secret\n");
        let mut settings = Settings::default();
        if has_acl {
            let mut client = server.client().await;
            client.text(&format!("ACL SETUSER app {}", acl(engine))).await;
            // Nobody else may do anything.
            client.text("CONFIG SET requirepass other").await;
            let user = format!("username = \"app\"\npassword_file = {:?}", fleet.path("password"));
            settings = Settings::with(&user);
        }
        for _ in 0..2 {
            fleet.join(&settings).await;
        }
        fleet.connected().await;
        fleet.shares(WARM..).await;
        let [first, last] = &fleet.replicas[..] else { panic!() };
        fleet.warm(0..1).await;
        fleet.rename(&sub(0), "New Name");
        assert!(first.expire(&sub(0)).await.unwrap(), "{engine:?}");
        until("told", async || last.name(&sub(0)).await == "New Name").await;
        assert_eq!(fleet.sum("calls_total", "ScriptError").await, 0.0, "{engine:?}, {has_acl}");
    }
}

/// Each fault ends without a restart.
#[tokio::test(flavor = "multi_thread")]
async fn a_start_does_not_wait_for_the_store_and_names_what_is_wrong() {
    let server = Server::start_with(Engine::Valkey, Mode::Plain, "requirepass right").await;
    let mut fleet = Fleet::without_replicas(server.address);
    for (name, password) in [("right", "right\n"), ("wrong", "wrong\n")] {
        fleet.write(name, password);
    }
    let settings = |password| {
        let file = fleet.path(password);
        Settings::with(&format!("connect_timeout = \"{CONNECT_TIMEOUT}s\"\npassword_file = {file:?}"))
    };
    let table = [
        (Fault::Refuse, settings("right"), "shared_cache.url"),
        (Fault::Hold, settings("right"), "shared_cache.connect_timeout"),
        (Fault::Pass, settings("wrong"), "shared_cache.password_file"),
    ];
    let begun = Instant::now();
    let mut starting = Vec::new();
    for (fault, settings, named) in table {
        let proxy = Proxy::start(server.address).await;
        proxy.set(fault);
        starting.push((fleet.process(proxy.address, &settings), proxy, named));
    }
    let mut names = Vec::new();
    for (process, proxy, named) in starting {
        fleet.replicas.push(Replica::of(process).await);
        fleet.proxies.push(proxy);
        names.push(named);
    }
    for (n, replica) in fleet.replicas.iter().enumerate() {
        assert_eq!(source(&replica.get(&sub(n)).await.unwrap()), Source::Cognito);
        assert!(!replica.is_connected().await);
    }
    // A start that waited for the silent store would take that long.
    assert!(begun.elapsed() < Duration::from_secs(CONNECT_TIMEOUT), "{:?}", begun.elapsed());
    for (replica, named) in fleet.replicas.iter().zip(names) {
        let fault = replica.fault();
        assert!(fault.contains(named), "{fault}");
    }
    fleet.fault(Fault::Pass);
    fleet.write("wrong", "right\n");
    fleet.connected().await;
    fleet.shares(WARM..).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_a_script_is_logged_once_and_opens_nothing() {
    let store = Server::start(Engine::Valkey).await;
    let mut fleet = Fleet::start_some(2, &store, &Settings::default()).await;
    let mut insider = Insider::new(&fleet, store.client().await);
    for n in 0..30 {
        let set = format!("SET {} not-a-hash", insider.key(&sub(n)));
        insider.client.text(&set).await;
        for replica in &fleet.replicas {
            assert_eq!(source(&replica.get(&sub(n)).await.unwrap()), Source::Cognito);
        }
    }
    assert_eq!(fleet.sum("calls_total", "script=\"look\",outcome=\"ScriptError\"").await, 60.0);
    fleet.shares(WARM..).await;
    assert!(fleet.replicas[0].expire(&sub(0)).await.is_err(), "it cannot be noted");
    for replica in fleet.replicas.drain(..) {
        assert!(replica.is_connected().await);
        let log = replica.stopped();
        let errors: Vec<_> =
            log.iter().filter(|line| line["message"] == "a script of the shared cache failed").collect();
        assert_eq!(errors.iter().filter(|line| line["script"] == "look").count(), 1, "{errors:#?}");
    }
}

/// In seconds.
const CONNECT_TIMEOUT: u64 = 8;
