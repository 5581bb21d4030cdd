//! The CPU of a hit with a shared cache, against one without.

use tokio::time::Instant;

use super::{
    replica::{Fleet, Replica},
    store::Store,
};

/// Compares hits of two replicas in turns, on one thread.
pub(super) async fn compare() {
    let (store, fleet) = (Store::start(), Fleet::start(PEOPLE));
    let (off, on) = (fleet.replica(None).await, fleet.replica(Some(store.url())).await);
    let permits = on.permits(0..PEOPLE).await;
    let permits_off = off.permits(0..PEOPLE).await;
    on.read(&permits).await;
    off.read(&permits_off).await;
    // Once more: an entry of before the first event is confirmed at its first hit.
    on.read(&permits).await;
    let mut ratios = Vec::new();
    let mut nanos = Vec::new();
    for round in 0..ROUNDS {
        let [with, without] = match round % 2 {
            0 => [hits(&on, &permits), hits(&off, &permits_off)],
            _ => {
                let without = hits(&off, &permits_off);
                [hits(&on, &permits), without]
            }
        };
        ratios.push(with / without);
        nanos.push(with);
    }
    ratios.sort_unstable_by(f64::total_cmp);
    nanos.sort_unstable_by(f64::total_cmp);
    let at = |percent: usize| ratios[ratios.len() * percent / 100];
    println!(
        "a hit with the shared cache to one without: {:.3}x (middle half {:.3}-{:.3}), {:.0} ns",
        at(50),
        at(25),
        at(75),
        nanos[nanos.len() / 2]
    );
}

/// The nanoseconds of a hit.
fn hits(replica: &Replica, permits: &[cognito_lookup::policy::Permit]) -> f64 {
    let begun = Instant::now();
    for _ in 0..REPEATS {
        for permit in permits {
            assert!(replica.users.find_cached(permit).is_some_and(|found| found.is_ok()));
        }
    }
    begun.elapsed().as_nanos() as f64 / (REPEATS * permits.len()) as f64
}

const PEOPLE: usize = 1_000;
const ROUNDS: usize = 41;
const REPEATS: usize = 100;
