//! What the shared cache adds to a miss, what it saves, and what a user takes in the store.

use super::{
    replica::{Fleet, percentiles},
    store::Store,
};

/// Measures misses one after the other: without the store, with it, and of what another replica
/// fetched.
pub(super) async fn compare() {
    let (store, fleet) = (Store::start(), Fleet::start(4 * PEOPLE));
    let alone = fleet.replica(None).await;
    let (first, second) = (fleet.replica(Some(store.url())).await, fleet.replica(Some(store.url())).await);
    let before = store.used_bytes();
    let (mut without, mut with, mut shared) = (Vec::new(), Vec::new(), Vec::new());
    // In turns, because the machine's speed changes.
    for turn in 0..TURNS {
        let people = turn * PEOPLE / TURNS..(turn + 1) * PEOPLE / TURNS;
        without.append(&mut alone.read(&alone.permits(people.clone()).await).await);
        with.append(&mut first.read(&first.permits(people.clone()).await).await);
        shared.append(&mut second.read(&second.permits(people).await).await);
    }
    let bytes = (store.used_bytes() - before) as f64 / PEOPLE as f64;
    let [without, with, shared] = [without, with, shared].map(percentiles);
    println!("a miss without the store: median {:.2} ms, p99 {:.2} ms", without.0, without.1);
    println!(
        "a miss with the store: median {:.2} ms, p99 {:.2} ms; added {:.2} and {:.2} ms",
        with.0,
        with.1,
        with.0 - without.0,
        with.1 - without.1
    );
    println!(
        "a user that another replica fetched: median {:.2} ms, p99 {:.2} ms; {:.2}x of a miss without the store",
        shared.0,
        shared.1,
        shared.0 / without.0
    );
    println!("a user in the store: {bytes:.0} bytes");
    println!("calls of Cognito: {} for 3 x {PEOPLE} misses", fleet.cognito.calls("AdminGetUser"));
}

const PEOPLE: usize = 5_000;
const TURNS: usize = 10;
