//! Revocations over three processes.

use std::time::Duration;

use cognito_lookup::shared_cache::Reply;
use futures_util::future::join_all;
use tokio::time::{Instant, sleep};
use tonic::Code;

use super::{
    fleet::{Fleet, sub},
    replica::{Replica, until},
    settings::Settings,
};
use crate::{
    store::{
        proxy::{Fault, Proxy},
        server::{Engine, Server},
    },
    support::failure,
};

/// Prints the latency. A busy machine may be slower, so no time is asserted.
#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_reaches_every_replica() {
    let store = Server::start(Engine::Valkey).await;
    let fleet = Fleet::start(&store, &Settings::default()).await;
    let mut times = Vec::new();
    for n in 0..RUNS {
        let token = token(&fleet, n);
        for replica in &fleet.replicas {
            replica.get_by_token(&token).await.unwrap();
        }
        let (by, begun) = (&fleet.replicas[n % fleet.replicas.len()], Instant::now());
        let answer = by.revoke(&sub(n)).await.unwrap();
        assert!(answer.reached_all_replicas);
        assert!(is_revoked(by, &token).await, "the replica that answered refuses it with the answer");
        join_all(fleet.replicas.iter().map(|replica| refused(replica, &token))).await;
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    println!(
        "from RevokeTokens to a refusal on all three replicas: median {:?}, longest {:?} of {RUNS}",
        times[RUNS / 2],
        times[RUNS - 1],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_outlives_the_restart_of_every_replica() {
    let store = Server::start(Engine::Valkey).await;
    let mut fleet = Fleet::start(&store, &Settings::default()).await;
    let (revoked, other) = (token(&fleet, 0), token(&fleet, 1));
    fleet.replicas[0].revoke(&sub(0)).await.unwrap();
    for replica in fleet.replicas.drain(..) {
        replica.stopped();
    }
    fleet.start_replicas(&Settings::default()).await;
    for replica in &fleet.replicas {
        // From the first call on.
        assert!(is_revoked(replica, &revoked).await);
        replica.get_by_token(&other).await.unwrap();
        assert_eq!(caught_up(replica).await, 1.0);
    }
}

/// The replica that was called has ended since, and the others have read the revocation.
#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_outlives_the_loss_of_the_store() {
    for engine in Engine::ALL {
        let store = Server::start(engine).await;
        let mut fleet = Fleet::start(&store, &Settings::default()).await;
        let (revoked, other) = (token(&fleet, 0), token(&fleet, 1));
        fleet.replicas[0].revoke(&sub(0)).await.unwrap();
        for replica in &fleet.replicas[1..] {
            until("refused", async || is_revoked(replica, &revoked).await).await;
        }
        fleet.replicas.remove(0).stopped();
        store.client().await.text("FLUSHALL").await;
        until("published", async || {
            let length = store.client().await.command("XLEN cl:r1:{r}:s").await;
            matches!(length, Ok(Reply::Int(1..)))
        })
        .await;
        fleet.join(&Settings::default()).await;
        let last = fleet.replicas.last().unwrap();
        assert!(is_revoked(last, &revoked).await, "{engine:?}");
        last.get_by_token(&other).await.unwrap();
    }
}

/// Its metric says so, and the token is accepted until the store answers.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_starts_without_the_store_is_ready_after_a_while_and_catches_up() {
    let store = Server::start(Engine::Valkey).await;
    let mut fleet = Fleet::start_some(1, &store, &Settings::default()).await;
    let token = token(&fleet, 0);
    fleet.replicas[0].revoke(&sub(0)).await.unwrap();
    let (begun, mut starting) = (Instant::now(), Vec::new());
    for fault in [Fault::Refuse, Fault::Hold, Fault::Delay(Duration::from_secs(2))] {
        let proxy = Proxy::start(store.address).await;
        proxy.set(fault);
        starting.push(fleet.process(proxy.address, &Settings::default()));
        fleet.proxies.push(proxy);
    }
    for process in starting {
        fleet.replicas.push(Replica::of(process).await);
    }
    assert!(begun.elapsed() >= Duration::from_secs(5), "one was ready before: {:?}", begun.elapsed());
    for replica in &fleet.replicas[1..] {
        assert_eq!(caught_up(replica).await, 0.0);
        replica.get_by_token(&token).await.unwrap();
    }
    fleet.fault(Fault::Pass);
    for replica in &fleet.replicas[1..] {
        until("caught up", async || caught_up(replica).await == 1.0).await;
        assert!(is_revoked(replica, &token).await);
    }
}

/// One replica asks CloudTrail, and the others get what it found.
#[tokio::test(flavor = "multi_thread")]
async fn one_replica_looks_up_what_all_of_them_missed() {
    let store = Server::start(Engine::Valkey).await;
    let mut fleet = Fleet::without_replicas(store.address);
    let tokens = [0, 1].map(|user| token(&fleet, user));
    fleet.cognito.add_to_trail(&fleet.cognito.event("GlobalSignOut", &sub(0)));
    let (queue, endpoint) = (fleet.cognito.queue_url(), fleet.cognito.endpoint_url());
    let with = |more: &str| {
        Settings::with(&format!(
            "[events]\nqueue_url = \"{queue}\"\nregion = \"eu-west-1\"\nendpoint_url = \"{endpoint}\"\n\
             catch_up = \"cloudtrail\"\ncloudtrail_endpoint_url = \"{endpoint}\"\n{more}"
        ))
    };
    let settings = with("");
    for _ in 0..3 {
        fleet.proxies.push(Proxy::start(store.address).await);
    }
    fleet.start_replicas(&settings).await;
    for replica in &fleet.replicas {
        until("caught up", async || metric(replica, "events_caught_up").await == 1.0).await;
        assert!(is_revoked(replica, &tokens[0]).await);
        replica.get_by_token(&tokens[1]).await.unwrap();
    }
    assert_eq!(fleet.cognito.calls("LookupEvents"), 5);
    // One that starts soon after finds the revocation in the store, and that it was looked up.
    fleet.join(&settings).await;
    let last = fleet.replicas.last().unwrap();
    until("caught up", async || metric(last, "events_caught_up").await == 1.0).await;
    assert!(is_revoked(last, &tokens[0]).await);
    assert_eq!(fleet.cognito.calls("LookupEvents"), 5);
    // One with other settings looks for itself.
    fleet.cognito.add_to_trail(&fleet.cognito.event("AdminDisableUser", &sub(1)));
    fleet.join(&with("[revocation]\non = [\"disabled\"]\n")).await;
    let last = fleet.replicas.last().unwrap();
    until("caught up", async || metric(last, "events_caught_up").await == 1.0).await;
    assert!(is_revoked(last, &tokens[1]).await);
    assert_eq!(fleet.cognito.calls("LookupEvents"), 10);
}

fn token(fleet: &Fleet, user: usize) -> String {
    fleet.cognito.access_token(&format!("member-{user}")).unwrap()
}

async fn caught_up(replica: &Replica) -> f64 {
    metric(replica, "revocations_caught_up").await
}

async fn metric(replica: &Replica, name: &str) -> f64 {
    let (metrics, prefix) = (replica.metrics().await, format!("cognito_lookup_{name} "));
    metrics.lines().find_map(|line| line.strip_prefix(&prefix)).unwrap().parse().unwrap()
}

async fn is_revoked(replica: &Replica, token: &str) -> bool {
    let revoked = (Code::Unauthenticated, "TOKEN_REVOKED".to_owned());
    replica.get_by_token(token).await.is_err_and(|status| failure(&status) == revoked)
}

async fn refused(replica: &Replica, token: &str) {
    while !is_revoked(replica, token).await {
        sleep(Duration::from_millis(1)).await;
    }
}

const RUNS: usize = 30;
