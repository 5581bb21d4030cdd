//! The calls that Cognito gets when a few users are requested often and many seldom.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use cognito_lookup::freshness::StaleReason;
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval},
};

use super::parts::Parts;

/// Replays ten minutes of 1,000 requests a second from an empty cache. Users follow Zipf's law with
/// exponent 1. Only the size of the cache is not the default. All times are a twentieth and all
/// rates twentyfold, so a replay takes half a minute.
pub(super) async fn replay(people: usize, max_bytes: Option<u64>) {
    let parts = Parts::start(people, |config| {
        config.cache.max_bytes = max_bytes.unwrap_or(config.cache.max_bytes);
        config.cache.fresh_for /= HASTE;
        config.cache.usable_for /= HASTE;
        config.budget.user_reads_per_second = Some(96 * usize::try_from(HASTE).unwrap());
    })
    .await;
    let permits = parts.permits(people).await;
    let tally = Arc::new(Tally::default());
    let (mut random, ranks) = (fastrand::Rng::with_seed(4), Ranks::new(people));
    let mut tick = interval(Duration::from_millis(1));
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (mut asked, mut half) = (JoinSet::new(), 0);
    for millisecond in 0..30_000 {
        tick.tick().await;
        for _ in 0..HASTE {
            let (rank, permits) = (ranks.draw(&mut random), Arc::clone(&permits));
            let (users, tally) = (parts.users.clone(), Arc::clone(&tally));
            asked.spawn(async move {
                let deadline = Instant::now() + Duration::from_secs(3) / HASTE;
                tally.note(
                    users.find(&permits[rank], deadline).await.map(|found| found.freshness().stale_reason),
                );
            });
        }
        while asked.try_join_next().is_some() {}
        if millisecond == 15_000 {
            half = parts.cognito.calls("AdminGetUser");
        }
    }
    while asked.join_next().await.is_some() {}
    let (calls, requests) = (parts.cognito.calls("AdminGetUser"), 600_000);
    let saved = |calls: usize, requests: usize| 100.0 - 100.0 * calls as f64 / requests as f64;
    println!(
        "{people} people by Zipf's law, {} evicted, 1,000 requests/s for 10 min: {requests} requests, {calls} calls, \
         {:.1} % saved ({:.1} % in the second half); {} refused, {} stale",
        parts.evicted(),
        saved(calls, requests),
        saved(calls - half, requests / 2),
        tally.refused.load(Relaxed),
        tally.stale.load(Relaxed),
    );
}

#[derive(Default)]
struct Tally {
    refused: AtomicUsize,
    stale: AtomicUsize,
}

impl Tally {
    fn note<E>(&self, outcome: Result<Option<StaleReason>, E>) {
        match outcome {
            Err(_) => drop(self.refused.fetch_add(1, Relaxed)),
            Ok(Some(_)) => drop(self.stale.fetch_add(1, Relaxed)),
            Ok(None) => {}
        }
    }
}

/// The cumulative weight of each rank.
struct Ranks(Vec<f64>);

impl Ranks {
    fn new(people: usize) -> Self {
        let weights = (1..=people).map(|rank| 1.0 / rank as f64);
        Self(weights.scan(0.0, |sum, weight| Some(std::mem::replace(sum, *sum + weight) + weight)).collect())
    }

    fn draw(&self, random: &mut fastrand::Rng) -> usize {
        let at = random.f64() * self.0[self.0.len() - 1];
        self.0.partition_point(|sum| *sum <= at)
    }
}

const HASTE: u32 = 20;
