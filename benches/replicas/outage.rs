//! Hits and misses while the store is frozen or gone, and the time until it is used again.

use rustix::process::Signal;
use tokio::time::{Duration, Instant, sleep};

use super::{
    replica::{Fleet, Replica, percentiles},
    store::Store,
};

/// Freezes the store, kills it, and measures what calls notice and when they use it again.
pub(super) async fn recover() {
    let (mut store, fleet) = (Store::start(), Fleet::start(PEOPLE));
    let replica = fleet.replica(Some(store.url())).await;
    let hot = replica.permits(0..100).await;
    replica.read(&hot).await;
    replica.read(&hot).await;
    let (mut hits, mut frozen) = (Vec::new(), Vec::new());
    hits.extend(hits_for(&replica, &hot).await);
    store.signal(Signal::STOP);
    let cold = replica.permits(100..1_100).await;
    let mut beside = hits_for(&replica, &hot).await;
    frozen.extend(replica.read(&cold).await);
    beside.extend(hits_for(&replica, &hot).await);
    let [alone, beside] = [hits, beside].map(percentiles);
    println!("a hit beside a frozen store: p99 {:.4} ms, without {:.4} ms", beside.1, alone.1);
    let slow = frozen.iter().filter(|time| **time > Duration::from_millis(45)).count();
    let frozen = percentiles(frozen);
    println!(
        "a miss beside a frozen store: median {:.2} ms, p99 {:.2} ms; {slow} of 1000 waited for its timeout",
        frozen.0, frozen.1
    );
    let begun = Instant::now();
    store.signal(Signal::CONT);
    until_used(&replica).await;
    println!("used again after a freeze: {:.0} ms", begun.elapsed().as_secs_f64() * 1e3);
    store.kill();
    drop(replica.read(&replica.permits(1_100..1_200).await).await);
    sleep(Duration::from_secs(10)).await;
    store.restart();
    let begun = Instant::now();
    until_used(&replica).await;
    println!("used again after 10 s without a server: {:.0} ms", begun.elapsed().as_secs_f64() * 1e3);
}

/// Waits until calls of the store are made again.
async fn until_used(replica: &Replica) {
    let begun = Instant::now();
    while !replica.is_connected() {
        assert!(begun.elapsed() < Duration::from_secs(30), "the store is not used again");
        sleep(Duration::from_millis(5)).await;
    }
}

async fn hits_for(replica: &Replica, hot: &[cognito_lookup::policy::Permit]) -> Vec<Duration> {
    let mut times = Vec::new();
    for _ in 0..1_000 {
        times.extend(replica.read(hot).await);
    }
    times
}

const PEOPLE: usize = 1_300;
