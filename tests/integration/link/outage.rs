use std::time::Duration;

use cognito_lookup::shared_cache::{CallError, Reply, Transport as _};
use tokio::{
    io::AsyncReadExt as _,
    net::TcpStream,
    time::{sleep, timeout},
};

use super::linked::{Linked, standalone, written};
use crate::store::{
    client::list,
    pair::Pair,
    proxy::{Fault, Proxy},
    server::{Engine, Mode, Server},
};

#[tokio::test]
async fn after_a_demotion_the_link_finds_the_new_primary() {
    for engine in Engine::ALL {
        let pair = Pair::start(engine).await;
        // As a DNS name that leads to the primary.
        let name = Proxy::start(pair.primary.address).await;
        let linked = Linked::connected(standalone(name.address.port())).await;
        assert_eq!(linked.write("cl:1:{a}").await, written());
        pair.promote().await;
        pair.primary.follow(pair.replica.address).await;
        // All sockets stay open, and the name still leads to what is a replica now.
        linked.until("demoted", || linked.reconnects("ReadOnly") > 0.0).await;
        linked.logged("the server is a replica").await;
        assert_eq!(linked.write("cl:1:{a}").await, Err(CallError::Unavailable), "a PING would be answered");
        name.redirect(pair.replica.address);
        linked.available().await;
        assert_eq!(linked.write("cl:1:{b}").await, written());
        linked.reads_again().await;
        linked.publish_on_events("1").await.unwrap();
        let keys = list(pair.replica.client().await.command("KEYS cl:*").await.unwrap());
        for key in ["cl:1:{b}", "cl:e1:{e}:s"] {
            assert!(keys.iter().any(|found| found == key.as_bytes()), "{key}");
        }
    }
}

#[tokio::test]
async fn half_open_connections_are_replaced() {
    let server = Server::start(Engine::Valkey).await;
    let proxy = Proxy::start(server.address).await;
    let linked = Linked::connected(standalone(proxy.address.port())).await;
    linked.reads_again().await;
    // Everything is swallowed, and no side learns of it.
    proxy.set(Fault::Hold);
    let begun = proxy.connections();
    let (call, read) = tokio::join!(linked.write("cl:1:{a}"), linked.read(Duration::from_millis(10)));
    assert_eq!((call, read), (Err(CallError::Timeout), Err(CallError::Timeout)));
    linked.until("replaced", || proxy.connections() >= begun + 2).await;
    linked.unavailable().await;
    proxy.cut();
    proxy.set(Fault::Pass);
    linked.available().await;
    assert_eq!(linked.write("cl:1:{a}").await, written());
    linked.reads_again().await;
    assert!(linked.reconnects("Timeouts") >= 2.0);
}

#[tokio::test]
async fn lost_replies_are_timeouts_and_nothing_else() {
    let server = Server::start(Engine::Valkey).await;
    let proxy = Proxy::start(server.address).await;
    let linked = Linked::connected(standalone(proxy.address.port())).await;
    // The server knows the script from now on.
    linked.writes_again("cl:1:{b}").await;
    proxy.set(Fault::HoldReplies);
    assert_eq!(linked.write("cl:1:{a}").await, Err(CallError::Timeout));
    let exists = server.client().await.command("EXISTS cl:1:{a}").await;
    assert_eq!(exists, Ok(Reply::Int(1)), "the call had its effect");
    proxy.set(Fault::Pass);
    linked.writes_again("cl:1:{a}").await;
}

#[tokio::test]
async fn a_server_that_closes_idle_connections_closes_none() {
    let server = Server::start_with(Engine::Redis, Mode::Plain, "timeout 1").await;
    let linked = Linked::connected(standalone(server.address.port())).await;
    linked.reads_again().await;
    // Longer than the server allows. The reader of the events waits meanwhile, as it always does.
    for _ in 0..4 {
        linked.read(Duration::from_secs(1)).await.unwrap();
    }
    assert_eq!(linked.write("cl:1:{a}").await, written());
    assert_eq!(linked.reconnects("Closed"), 0.0, "{}", linked.log.text());
    // The control: a client without a heartbeat is closed.
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    assert_eq!(timeout(Duration::from_secs(20), idle.read(&mut [0; 8])).await.unwrap().unwrap(), 0);
}

#[tokio::test]
async fn a_closed_connection_is_replaced_without_any_call() {
    let server = Server::start(Engine::Valkey).await;
    let linked = Linked::connected(standalone(server.address.port())).await;
    linked.reads_again().await;
    for _ in 0..2 {
        let before = linked.reconnects("Closed");
        server.client().await.command("CLIENT KILL TYPE normal").await.unwrap();
        linked.until("closed", || linked.reconnects("Closed") >= before + 2.0).await;
        linked.available().await;
        assert_eq!(linked.write("cl:1:{a}").await, written());
        linked.reads_again().await;
    }
}

#[tokio::test]
async fn a_lost_connection_of_the_events_leaves_the_commands_alone() {
    let server = Server::start(Engine::Valkey).await;
    let linked = Linked::connected(standalone(server.address.port())).await;
    linked.reads_again().await;
    let kill = async {
        sleep(Duration::from_millis(100)).await;
        // The only client whose command is a read of a stream.
        let mut client = server.client().await;
        let clients = client.text("CLIENT LIST").await;
        let reader = clients.lines().find(|line| line.contains("cmd=xread")).unwrap();
        let id = reader.split_once("id=").unwrap().1.split(' ').next().unwrap();
        client.command(&format!("CLIENT KILL ID {id}")).await.unwrap();
    };
    let (read, ()) = tokio::join!(linked.read(Duration::from_secs(20)), kill);
    assert_eq!(read, Err(CallError::Failed));
    assert!(linked.link.is_available(), "{}", linked.log.text());
    linked.reads_again().await;
    assert_eq!(linked.metric("open"), 0.0);
}

#[tokio::test]
async fn a_frozen_server_costs_a_few_calls_their_time_limit() {
    for engine in Engine::ALL {
        let server = Server::start(engine).await;
        let linked = Linked::connected(standalone(server.address.port())).await;
        assert_eq!(linked.write("cl:1:{a}").await, written());
        server.freeze();
        let mut results = Vec::new();
        while linked.link.is_available() {
            let bounded = timeout(Duration::from_secs(10), linked.write("cl:1:{a}"));
            results.push(bounded.await.expect("the call has a time limit"));
            assert!(results.len() <= 10);
        }
        let is_expected = |result| matches!(result, &Err(CallError::Timeout | CallError::Unavailable));
        assert!(results.iter().all(is_expected), "{results:?}");
        // While the breaker is open, nothing is sent.
        let sent = linked.metric(r#"calls_total{script="write",outcome="Timeout"}"#);
        for _ in 0..1000 {
            assert_eq!(linked.write("cl:1:{a}").await, Err(CallError::Unavailable));
        }
        assert_eq!(linked.metric(r#"calls_total{script="write",outcome="Timeout"}"#), sent);
        assert_eq!(linked.metric("open"), 1.0);
        server.thaw();
        linked.available().await;
        assert_eq!(linked.write("cl:1:{a}").await, written());
        assert_eq!(linked.metric("open"), 0.0);
    }
}

#[tokio::test]
async fn a_slow_server_is_not_used() {
    let server = Server::start(Engine::Valkey).await;
    let proxy = Proxy::start(server.address).await;
    let linked = Linked::connected(standalone(proxy.address.port())).await;
    linked.writes_again("cl:1:{a}").await;
    // Each way: more than half of the time limit, but less than all of it.
    proxy.set(Fault::Delay(Duration::from_millis(60)));
    for _ in 0..40 {
        // At once, so that 20 of them end within a second.
        let calls: Vec<_> = (0..20).map(|_| linked.write("cl:1:{a}")).collect();
        futures_util::future::join_all(calls).await;
        if !linked.link.is_available() {
            break;
        }
    }
    assert!(!linked.link.is_available());
    linked.logged("half of shared_cache.timeout").await;
    sleep(Duration::from_millis(1500)).await;
    assert!(!linked.link.is_available(), "slow probes do not close the breaker");
    proxy.set(Fault::Pass);
    linked.available().await;
}

#[tokio::test]
async fn a_full_server_is_not_used_until_it_has_room() {
    for engine in Engine::ALL {
        let server = Server::start_with(engine, Mode::Plain, "maxmemory-policy noeviction").await;
        let linked = Linked::connected(standalone(server.address.port())).await;
        let mut client = server.client().await;
        client.text("CONFIG SET maxmemory 1").await;
        linked.unavailable().await;
        linked.logged("the server is full").await;
        sleep(Duration::from_millis(1500)).await;
        assert!(!linked.link.is_available(), "a PING would be answered");
        client.text("CONFIG SET maxmemory 0").await;
        linked.available().await;
        assert_eq!(linked.write("cl:1:{a}").await, written());
    }
}
