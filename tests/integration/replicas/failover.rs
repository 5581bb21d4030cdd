use cognito_lookup::proto::Source;

use super::{
    fleet::{Fleet, sub},
    insider::Insider,
    load::{Load, WARM},
    replica::until,
    settings::Settings,
};
use crate::{
    store::{
        cluster::Cluster,
        pair::Pair,
        proxy::Fault,
        server::{Engine, wait_for},
    },
    support::source,
};

#[tokio::test(flavor = "multi_thread")]
async fn no_read_fails_when_the_primary_becomes_a_replica_and_keeps_its_connections() {
    let pair = Pair::start(Engine::Redis).await;
    let mut fleet = Fleet::start(&pair.primary, &Settings::of_production()).await;
    let load = Load::start(&fleet).await;
    pair.promote().await;
    pair.primary.follow(pair.replica.address).await;
    // The name still leads to the old primary.
    until("noticed", async || fleet.sum("reconnects_total", "ReadOnly").await >= 3.0).await;
    load.assert_none_failed("while the name leads to a replica").await;
    let gaps = fleet.sum("gaps_total", "").await;
    fleet.lead_to(pair.replica.address);
    fleet.connected().await;
    fleet.shares(WARM..).await;
    load.assert_none_failed("after the failover").await;
    // It may have lost events.
    until("suspicious", async || fleet.sum("gaps_total", "").await >= gaps + 3.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalidation_that_a_failover_loses_is_repeated() {
    let mut pair = Pair::start(Engine::Valkey).await;
    let mut fleet = Fleet::start(&pair.primary, &Settings::of_production()).await;
    let user = sub(0);
    fleet.warm(0..1).await;
    let mut insider = Insider::new(&fleet, pair.replica.client().await);
    let exists = format!("EXISTS {}", insider.key(&user));
    wait_for(&mut insider.client, &exists, "1").await;
    let old = insider.fields(&user).await;

    pair.between.set(Fault::Hold);
    fleet.rename(&user, "New Name");
    fleet.replicas[0].expire_everywhere(&user).await;
    for replica in &fleet.replicas {
        until("told", async || replica.name(&user).await == "New Name").await;
    }
    pair.primary.kill();
    pair.promote().await;
    assert_eq!(insider.fields(&user).await, old, "the new primary has the old user, and no invalidation");
    fleet.lead_to(pair.replica.address);
    fleet.connected().await;
    // One that has never heard of it.
    fleet.join(&Settings::of_production()).await;
    let new = fleet.replicas.last().unwrap();
    until("told", async || new.name(&user).await == "New Name").await;
    assert_ne!(insider.fields(&user).await, old);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_read_fails_when_a_shard_of_a_cluster_dies() {
    let mut cluster = Cluster::start(Engine::Valkey).await;
    let urls: Vec<_> = cluster.nodes.iter().map(|node| format!("redis://{}", node.address)).collect();
    let servers = |mode: &str, rest: String| Settings {
        servers: Some(format!("mode = \"{mode}\"\n{rest}")),
        ..Settings::of_production()
    };
    let settings = servers("cluster", format!("urls = {:?}", &urls[..3]));
    let mut fleet = Fleet::start(&cluster.nodes[0], &settings).await;
    // A replica whose settings say that the cluster is one server.
    let standalone = servers("standalone", format!("url = {:?}", urls[0]));
    fleet.join(&standalone).await;
    let apart = fleet.replicas.pop().unwrap();
    let fault = apart.fault();
    assert!(fault.contains("shared_cache.mode"), "{fault}");
    assert_eq!(source(&apart.get(&sub(1)).await.unwrap()), Source::Cognito);
    drop(apart);

    let load = Load::start(&fleet).await;
    fleet.shares(WARM..).await;
    cluster.nodes[0].kill();
    wait_for(&mut cluster.nodes[3].client().await, "INFO replication", "role:master").await;
    load.assert_none_failed("while a shard was gone").await;
    fleet.connected().await;
    // In each shard.
    for n in 0..8 {
        fleet.shares(1_000 + 100 * n..).await;
    }
    load.assert_none_failed("after the failover of the shard").await;
}
