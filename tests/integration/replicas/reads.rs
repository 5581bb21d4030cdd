use std::{sync::Arc, time::Duration};

use cognito_lookup::proto::user_service_client::UserServiceClient;
use futures_util::future::join_all;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use tonic::{Code, Request, transport::Channel};

use super::{
    fleet::{Fleet, sub},
    settings::Settings,
};
use crate::{
    store::server::{Engine, Server},
    support::{GET_USER_STARTED, about, connect, failure, metric},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_cold_reads_of_one_user_make_one_call() {
    let store = Server::start(Engine::Valkey).await;
    let fleet = Fleet::start(&store, &Settings::default()).await;
    let mut channels = Vec::new();
    for replica in &fleet.replicas {
        // A connection carries at most 100 concurrent calls.
        let address = replica.process.address.parse().unwrap();
        channels.push(join_all((0..4).map(|_| connect(address))).await);
    }
    let held = fleet.cognito.hold("AdminGetUser");
    let mut reads = JoinSet::new();
    for n in 0..1_000 {
        let channel = channels[n % 3][n / 3 % 4].clone();
        reads.spawn(async move { UserServiceClient::new(channel).get_user(about(&sub(0))).await });
    }
    // So that they are concurrent, but within the time of a call to Cognito.
    let until = Instant::now() + Duration::from_millis(800);
    while started(&fleet).await < 1_000.0 && Instant::now() < until {
        sleep(Duration::from_millis(20)).await;
    }
    held.release();
    let failed: Vec<_> = reads.join_all().await.into_iter().filter_map(Result::err).collect();
    assert!(failed.is_empty(), "{} failed, the first with {:?}", failed.len(), failed[0]);
    assert_eq!(fleet.lookups(), 1);
    // The control: all three asked, and two of them were given what the first one fetched.
    let ends = [fleet.sum("leases_total", "Led").await, fleet.sum("leases_total", "Followed").await];
    assert_eq!(ends, [1.0, 2.0]);
}

/// No entry is refreshed within this time, so one replica alone calls Cognito once for each user. The
/// test of the model has a trace with refreshes.
#[tokio::test(flavor = "multi_thread")]
async fn three_replicas_make_the_calls_of_one() {
    let store = Server::start(Engine::Valkey).await;
    let mut calls = Vec::new();
    for (replicas, shared_cache) in [(1, "namespace = \"one\""), (3, "namespace = \"three\"")] {
        let settings = Settings::with(shared_cache);
        let fleet = Fleet::start_some(replicas, &store, &settings).await;
        replay(&fleet.replicas.iter().map(|replica| replica.channel.clone()).collect::<Vec<_>>()).await;
        calls.push(fleet.lookups());
    }
    let [one, three] = calls[..] else { panic!() };
    assert!(one > 100, "{one} calls");
    assert!(three * 100 <= one * 105, "three replicas made {three} calls, and one made {one}");
}

/// Reads users as Zipf's law has it, sixteen at a time.
async fn replay(channels: &[Channel]) {
    let trace: Arc<Vec<_>> = {
        let mut random = fastrand::Rng::with_seed(1);
        // Log-uniform, so the probability of a rank is inversely proportional to it.
        Arc::new((0..READS).map(|_| (random.usize(..), USERS.powf(random.f64()) as usize)).collect())
    };
    let mut readers = JoinSet::new();
    for reader in 0..READERS {
        let (channels, trace) = (channels.to_vec(), Arc::clone(&trace));
        readers.spawn(async move {
            for (replica, user) in trace.iter().skip(reader).step_by(READERS) {
                read(&channels[replica % channels.len()], &sub(*user)).await;
            }
        });
    }
    readers.join_all().await;
}

/// Reads a user, and repeats what is refused before any call is made: on a busy machine two scripts in a row
/// may take longer than a second, and then too little of the deadline is left.
async fn read(channel: &Channel, sub: &str) {
    for _ in 0..10 {
        let answer = UserServiceClient::new(channel.clone()).get_user(Request::new(about(sub))).await;
        let Err(status) = answer else { return };
        assert_eq!(failure(&status), (Code::ResourceExhausted, "BUDGET_EXHAUSTED".to_owned()));
        sleep(Duration::from_millis(100)).await;
    }
    panic!("refused ten times");
}

async fn started(fleet: &Fleet) -> f64 {
    join_all(fleet.replicas.iter().map(|replica| metric(replica.process.admin, GET_USER_STARTED)))
        .await
        .iter()
        .sum()
}

const READS: usize = 2_000;
const READERS: usize = 16;
const USERS: f64 = 400.0;
