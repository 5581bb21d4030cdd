//! The time until an expiry on one replica is seen by reads on another.

use cognito_lookup::users::Invalidation;
use tokio::time::{Duration, Instant};

use super::{
    replica::{Fleet, percentiles, sub},
    store::Store,
};

/// Expires users one after the other, and reads each on the other replica until its cached entry is
/// not served any more.
pub(super) async fn measure() {
    let (store, fleet) = (Store::start(), Fleet::start(PEOPLE));
    let (first, second) = (fleet.replica(Some(store.url())).await, fleet.replica(Some(store.url())).await);
    let permits = second.permits(0..PEOPLE).await;
    second.read(&permits).await;
    second.read(&permits).await;
    let (mut calls, mut seen) = (Vec::new(), Vec::new());
    for (n, permit) in permits.iter().enumerate() {
        let begun = Instant::now();
        let expired = first.users.invalidate(&fleet.pool(), &sub(n), Invalidation::Expire).await.unwrap();
        assert!(expired.reached_all_replicas);
        calls.push(begun.elapsed());
        while second.users.find_cached(permit).is_some() {
            assert!(begun.elapsed() < Duration::from_secs(5), "the event is lost");
            tokio::task::yield_now().await;
        }
        seen.push(begun.elapsed());
    }
    let [calls, seen] = [calls, seen].map(percentiles);
    println!("an expiry: median {:.2} ms, p99 {:.2} ms", calls.0, calls.1);
    println!("seen by another replica: median {:.2} ms, p99 {:.2} ms", seen.0, seen.1);
}

const PEOPLE: usize = 2_000;
