use std::{fs, time::Duration};

use cognito_lookup::shared_cache::{CallError, ClientFiles, Mode, Target, Tls};

use super::linked::{Linked, password, target, tcp, written};
use crate::store::{
    client::list,
    cluster::{Cluster, SecuredCluster},
    sentinel::Sentinel,
    server::{Engine, Mode as ServerMode, Server, free_address},
};

#[tokio::test]
async fn sentinels_name_the_primary_at_each_connect() {
    for engine in Engine::ALL {
        let watched = Sentinel::start(engine).await;
        // One of the sentinels is gone.
        let addresses = vec![tcp(free_address().port()), tcp(watched.sentinel.address.port())];
        let mode = Mode::Sentinel { addresses: addresses.clone(), name: "main".to_owned() };
        let linked = Linked::connected(target(mode)).await;
        assert_eq!(linked.write("cl:1:{a}").await, written());
        watched.fail_over().await;
        let (primary, other) = (watched.primary().await, watched.servers[0].address);
        assert_ne!(primary, other);
        linked
            .until("failed over", || linked.reconnects("ReadOnly") + linked.reconnects("Closed") > 0.0)
            .await;
        linked.writes_again("cl:1:{b}").await;
        linked.reads_again().await;
        let found = watched.servers[1].client().await.command("EXISTS cl:1:{b}").await;
        assert_eq!(list(found.unwrap()), [b"1"], "the one that the sentinel names");
        let unknown = Mode::Sentinel { addresses, name: "other".to_owned() };
        Linked::start(target(unknown)).logged("shared_cache.sentinel_name").await;
    }
}

#[tokio::test]
async fn sentinels_with_the_password_of_the_servers_are_asked_too() {
    let server = Server::start_with(Engine::Valkey, ServerMode::Plain, "requirepass secret").await;
    let settings = format!(
        "sentinel monitor main 127.0.0.1 {} 1\nsentinel auth-pass main secret\nrequirepass secret\n",
        server.address.port()
    );
    let sentinel = Server::start_with(Engine::Valkey, ServerMode::Sentinel, &settings).await;
    let (auth, _folder) = password(None, "secret");
    let addresses = vec![tcp(sentinel.address.port())];
    let mode = Mode::Sentinel { addresses, name: "main".to_owned() };
    let linked = Linked::connected(Target { auth, ..target(mode) }).await;
    assert_eq!(linked.write("cl:1:{a}").await, written());
}

#[tokio::test]
async fn a_cluster_serves_the_keys_of_all_its_nodes() {
    for engine in Engine::ALL {
        let cluster = Cluster::start(engine).await;
        // One of the configured nodes is gone, and another is a replica.
        let seeds = vec![tcp(free_address().port()), tcp(cluster.nodes[4].address.port())];
        let linked = Linked::connected(target(Mode::Cluster(seeds))).await;
        for n in 0..30 {
            assert_eq!(linked.write(&format!("cl:1:{{{n}}}")).await, written(), "{n}");
        }
        for node in &cluster.nodes[..3] {
            assert_ne!(list(node.client().await.command("DBSIZE").await.unwrap()), [b"0"]);
        }
        linked.publish("7").await.unwrap();
        linked.reads_again().await;
        linked.publish_on_events("8").await.unwrap();
        assert_eq!(linked.read(Duration::from_secs(1)).await.unwrap().0.len(), 2);
        assert!(!linked.log.text().contains("WARN"), "{}", linked.log.text());
    }
}

#[tokio::test]
async fn a_cluster_that_moves_its_slots_is_followed() {
    for engine in Engine::ALL {
        let cluster = Cluster::start(engine).await;
        let seeds = vec![tcp(cluster.nodes[0].address.port())];
        let linked = Linked::connected(target(Mode::Cluster(seeds))).await;
        for n in 0..30 {
            assert_eq!(linked.write(&format!("cl:1:{{{n}}}")).await, written(), "{n}");
        }
        cluster.fail_over(1).await;
        for n in 0..30 {
            linked.writes_again(&format!("cl:1:{{{n}}}")).await;
        }
        linked.reads_again().await;
    }
}

#[tokio::test]
async fn the_failover_of_one_node_leaves_the_others_in_use() {
    let cluster = Cluster::start(Engine::Valkey).await;
    let seeds = vec![tcp(cluster.nodes[1].address.port())];
    let connect = || target(Mode::Cluster(seeds.clone()));
    let before = Linked::connected(connect()).await;
    cluster.nodes[0].freeze();
    // Slots in the last and in the first third of all.
    let (other, frozen) = ("cl:1:{nz}", "cl:1:{kz}");
    before.writes_again(other).await;
    let during = Linked::connected(connect()).await;
    during.writes_again(other).await;
    // Its replica takes over.
    for linked in [before, during] {
        linked.writes_again(frozen).await;
        linked.writes_again(other).await;
    }
}

#[tokio::test]
async fn a_frozen_cluster_opens_the_breaker_and_returns() {
    let cluster = Cluster::start(Engine::Valkey).await;
    let seeds = vec![tcp(cluster.nodes[0].address.port())];
    let linked = Linked::connected(target(Mode::Cluster(seeds))).await;
    cluster.nodes.iter().for_each(Server::freeze);
    linked.unavailable().await;
    assert_eq!(linked.write("cl:1:{a}").await, Err(CallError::Unavailable));
    cluster.nodes.iter().for_each(Server::thaw);
    linked.available().await;
    linked.writes_again("cl:1:{a}").await;
    linked.reads_again().await;
}

#[tokio::test]
async fn a_cluster_with_tls_and_a_password_is_reached() {
    let cluster = SecuredCluster::start().await;
    cluster.command("ACL SETUSER lookup on >first ~* +@all").await;
    let client = cluster.path("client.pem");
    let client = Some(ClientFiles { key: client.with_extension("key"), certificate: client });
    let tls = Some(Tls { ca_file: Some(cluster.path("ca.pem")), client });
    let (auth, folder) = password(Some("lookup"), "first");
    let seeds = vec![tcp(cluster.seed)];
    let linked = Linked::connected(Target { tls, auth, ..target(Mode::Cluster(seeds)) }).await;
    for n in 0..10 {
        assert_eq!(linked.write(&format!("cl:1:{{{n}}}")).await, written());
    }
    linked.reads_again().await;
    // The `redis` crate would connect to the nodes with the old password for ever.
    cluster.command("ACL SETUSER lookup resetpass >second").await;
    fs::write(folder.path().join("password"), "second").unwrap();
    cluster.close_clients("lookup").await;
    for n in 0..10 {
        linked.writes_again(&format!("cl:1:{{{n}}}")).await;
    }
    linked.reads_again().await;
}
