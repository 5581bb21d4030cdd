//! The latency of cache hits while 100,000 cold users are requested at once, and of the refusals.

use std::{sync::Arc, time::Duration};

use cognito_lookup::{policy::Permit, users::Users};
use futures_util::FutureExt as _;
use tokio::{task::JoinSet, time::Instant};

use super::parts::Parts;

/// Measures hits alone, then during the herd, in turns. The herd runs on another thread.
pub(super) async fn stampede() {
    let parts = Parts::start(COLD + 1, |_| {}).await;
    let permits = parts.permits(COLD + 1).await;
    parts.users.find(&permits[COLD], in_time()).await.unwrap();
    let (mut alone, mut beside, mut refusals) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..5 {
        alone.append(&mut hits(&parts.users, &permits, 200_000).await);
        let mut herds = JoinSet::new();
        herds.spawn(herd(parts.users.clone(), Arc::clone(&permits)));
        let mut refused = loop {
            match herds.try_join_next() {
                Some(ended) => break ended.unwrap(),
                None => beside.append(&mut hits(&parts.users, &permits, 2000).await),
            }
        };
        refusals.append(&mut refused);
        tokio::time::sleep(Duration::from_secs(4)).await;
    }
    let [alone, beside, refusals] = [alone, beside, refusals].map(Times::of);
    println!(
        "a hit alone: {alone}; beside 100,000 cold users: {beside}; p99 {:.2} times",
        beside.p99 / alone.p99
    );
    println!(
        "a refusal: {refusals}; {} calls for {} requests",
        parts.cognito.calls("AdminGetUser"),
        5 * COLD
    );
}

async fn hits(users: &Users, permits: &Arc<[Permit]>, count: usize) -> Vec<Duration> {
    let permit = &permits[COLD];
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let begun = Instant::now();
        assert!(users.find(permit, in_time()).await.is_ok());
        times.push(begun.elapsed());
    }
    tokio::task::yield_now().await;
    times
}

/// Begins all requests as many connections would, without waiting for the few that are not refused.
async fn herd(users: Users, permits: Arc<[Permit]>) -> Vec<Duration> {
    let mut times = Vec::new();
    for permit in permits.iter().take(COLD) {
        let begun = Instant::now();
        if users.find(permit, in_time()).now_or_never().is_some_and(|found| found.is_err()) {
            times.push(begun.elapsed());
        }
    }
    times
}

fn in_time() -> Instant {
    Instant::now() + Duration::from_secs(3)
}

struct Times {
    middle: f64,
    p99: f64,
}

impl Times {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let at = |percent: usize| times[times.len() * percent / 100].as_secs_f64() * 1e6;
        Self { middle: at(50), p99: at(99) }
    }
}

impl std::fmt::Display for Times {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "median {:.1} µs, p99 {:.1} µs", self.middle, self.p99)
    }
}

const COLD: usize = 100_000;
