use std::time::Duration;

use cognito_lookup::shared_cache::Reply;
use tokio::time::{Instant, timeout};

use super::{
    client::Client,
    cluster::Cluster,
    pair::Pair,
    proxy::{Fault, Proxy},
    sentinel::Sentinel,
    server::{Engine, Mode, Server, tls_settings, wait_for},
};
use crate::support::certificates::{Authority, Files, client_config};

#[tokio::test]
async fn a_server_can_be_frozen_killed_and_restarted() {
    for engine in Engine::ALL {
        let mut server = Server::start(engine).await;
        let mut client = Client::tcp(server.address).await.unwrap();
        assert_eq!(client.text("SET a 1").await, "OK");
        server.freeze();
        assert!(timeout(WHILE, client.command("PING")).await.is_err());
        server.thaw();
        server.kill();
        assert!(Client::tcp(server.address).await.is_err());
        server.restart().await;
        let mut client = Client::tcp(server.address).await.unwrap();
        assert_eq!(client.command("GET a").await, Ok(Reply::Nil));
    }
}

#[tokio::test]
async fn a_fault_of_the_proxy_stops_requests_or_replies() {
    let server = Server::start(Engine::Valkey).await;
    let mut direct = server.client().await;
    let proxy = Proxy::start(server.address).await;
    let delay = Duration::from_millis(30);
    for (fault, is_answered, arrives) in [
        (Fault::Pass, true, true),
        (Fault::Slice(1), true, true),
        (Fault::Delay(delay), true, true),
        (Fault::Hold, false, false),
        (Fault::HoldRequests, false, false),
        (Fault::HoldReplies, false, true),
    ] {
        direct.text("SET a 0").await;
        proxy.set(fault);
        let mut client = Client::tcp(proxy.address).await.unwrap();
        let (started, patience) = (Instant::now(), if is_answered { LONG } else { WHILE });
        let answer = timeout(patience, client.command("INCR a")).await;
        assert_eq!(answer.ok(), is_answered.then_some(Ok(Reply::Int(1))), "{fault:?}");
        assert!(fault != Fault::Delay(delay) || started.elapsed() >= 2 * delay);
        wait_for(&mut direct, "GET a", if arrives { "1" } else { "0" }).await;
        proxy.set(Fault::Pass);
        wait_for(&mut direct, "GET a", "1").await;
    }
}

#[tokio::test]
async fn the_proxy_cuts_refuses_and_redirects() {
    let servers = [Server::start(Engine::Valkey).await, Server::start(Engine::Valkey).await];
    let proxy = Proxy::start(servers[0].address).await;
    let connect = async || Client::tcp(proxy.address).await.unwrap();
    let mut client = connect().await;
    proxy.set(Fault::Hold);
    assert!(timeout(WHILE, client.command("SET a 1")).await.is_err());
    proxy.cut();
    assert!(client.command("PING").await.is_err());
    proxy.set(Fault::Pass);
    let mut client = connect().await;
    assert_eq!(client.command("GET a").await, Ok(Reply::Nil), "it lost what it held");

    proxy.set(Fault::Refuse);
    assert!(client.command("PING").await.is_err());
    assert!(Client::tcp(proxy.address).await.is_err());
    proxy.set(Fault::Pass);
    proxy.redirect(servers[1].address);
    servers[1].client().await.text("SET a other").await;
    let mut client = loop {
        // It listens again after a moment.
        if let Ok(client) = Client::tcp(proxy.address).await {
            break client;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    };
    assert_eq!(client.text("GET a").await, "other");
    assert_eq!(proxy.connections(), 3);
}

#[tokio::test]
async fn a_promoted_replica_lacks_what_was_held() {
    for engine in Engine::ALL {
        let pair = Pair::start(engine).await;
        let (mut primary, mut replica) = (pair.primary.client().await, pair.replica.client().await);
        primary.text("SET a 1").await;
        wait_for(&mut replica, "GET a", "1").await;
        pair.between.set(Fault::Hold);
        primary.text("SET a 2").await;
        assert!(replica.command("SET a 3").await.unwrap_err().starts_with("READONLY"));
        pair.promote().await;
        pair.between.set(Fault::Pass);
        assert_eq!(replica.command("INCR a").await, Ok(Reply::Int(2)), "{engine:?}");
        pair.primary.follow(pair.replica.address).await;
        wait_for(&mut primary, "GET a", "2").await;
    }
}

#[tokio::test]
async fn a_sentinel_names_the_new_primary() {
    for engine in Engine::ALL {
        let sentinel = Sentinel::start(engine).await;
        assert_eq!(sentinel.primary().await, sentinel.servers[0].address);
        sentinel.fail_over().await;
        assert_eq!(sentinel.primary().await, sentinel.servers[1].address);
    }
}

#[tokio::test]
async fn a_shard_of_a_cluster_fails_over() {
    for engine in Engine::ALL {
        let cluster = Cluster::start(engine).await;
        cluster.fail_over(0).await;
        let mut other = cluster.nodes[1].client().await;
        let moved = cluster.nodes[3].address.port();
        // The key's slot is one of the first third.
        wait_for(&mut other, "GET b", &format!("MOVED 3300 127.0.0.1:{moved}")).await;
    }
}

#[tokio::test]
async fn redis_speaks_tls_and_may_require_a_certificate() {
    let [servers, clients] = ["servers", "clients"].map(Authority::new);
    let files = Files::new(&servers.server(), &clients);
    let identity = clients.client("replica");
    for (requires, identity, is_served) in
        [(false, None, true), (true, Some(&identity), true), (true, None, false)]
    {
        let server = Server::start_with(Engine::Redis, Mode::Tls, &tls_settings(&files, requires)).await;
        let pong = match Client::tls(server.address, client_config(&[&servers], identity)).await {
            Ok(mut client) => client.command("PING").await,
            Err(error) => Err(error.to_string()),
        };
        assert_eq!(pong.is_ok(), is_served, "{requires} {pong:?}");
    }
}

/// How long a test waits for what does not come.
const WHILE: Duration = Duration::from_millis(200);
/// How long it waits for what comes.
const LONG: Duration = Duration::from_secs(30);
