use std::{env, mem, sync::Arc, time::Duration};

use cognito_lookup::proto::user_service_client::UserServiceClient;
use tokio::{
    sync::Mutex,
    task::{JoinHandle, JoinSet},
    time::{Instant, interval},
};
use tonic::{Code, Status, transport::Channel};

use super::fleet::{Fleet, sub};
use crate::support::about;

/// Steady reads over all replicas, of users that all of them have and of users that none has.
pub(crate) struct Load {
    answers: Arc<Mutex<Answers>>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Answers {
    /// The times that reads took of users that all replicas have.
    hits: Vec<Duration>,
    misses: usize,
    failed: Vec<Status>,
}

impl Load {
    /// Reads the warm users everywhere, then starts. `LOAD_PER_SECOND` sets how many reads there are, for
    /// an optimized build; by default as many as a debug build makes beside other tests.
    pub(crate) async fn start(fleet: &Fleet) -> Self {
        fleet.warm(0..WARM).await;
        let channels: Vec<_> = fleet.replicas.iter().map(|replica| replica.channel.clone()).collect();
        #[expect(clippy::disallowed_methods, reason = "a setting of the test")]
        let per_second = env::var("LOAD_PER_SECOND").map_or(PER_SECOND, |text| text.parse().unwrap());
        let answers = Arc::<Mutex<Answers>>::default();
        let received = Arc::clone(&answers);
        #[expect(clippy::disallowed_methods, reason = "aborted on drop")]
        let task = tokio::spawn(async move {
            let (mut ticks, mut calls) = (interval(Duration::from_secs(1) / per_second), JoinSet::new());
            for n in 0.. {
                ticks.tick().await;
                let is_hit = n % COLD_EVERY != 0;
                let user = if is_hit { n % WARM } else { FIRST_COLD + n / COLD_EVERY };
                let channel = channels[n % channels.len()].clone();
                calls.spawn(read(channel, user, is_hit, Arc::clone(&received)));
                while calls.try_join_next().is_some() {}
            }
        });
        Self { answers, task }
    }

    /// Asserts that no read has failed, and that there were some since the last time. Prints how long
    /// the hits took.
    #[expect(clippy::print_stdout, reason = "the figures are read by people")]
    pub(crate) async fn assert_none_failed(&self, when: &str) {
        let mut answers = self.answers.lock().await;
        let (mut hits, misses) = (mem::take(&mut answers.hits), mem::take(&mut answers.misses));
        let failed = &answers.failed;
        assert!(failed.is_empty(), "{when}: {} reads failed, the first with {:?}", failed.len(), failed[0]);
        assert!(!hits.is_empty(), "{when}: nothing was read");
        hits.sort();
        let (p50, p99) = (hits[hits.len() / 2], hits[hits.len() * 99 / 100]);
        println!("{when}: {} hits, p50 {p50:.2?}, p99 {p99:.2?}, and {misses} misses", hits.len());
    }

    /// Returns the codes of the reads that failed.
    pub(crate) async fn failures(&self) -> Vec<Code> {
        self.answers.lock().await.failed.iter().map(Status::code).collect()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn read(channel: Channel, user: usize, is_hit: bool, answers: Arc<Mutex<Answers>>) {
    let begun = Instant::now();
    let result = UserServiceClient::new(channel).get_user(about(&sub(user))).await;
    let took = begun.elapsed();
    let mut answers = answers.lock().await;
    match result {
        Ok(_) if is_hit => answers.hits.push(took),
        Ok(_) => answers.misses += 1,
        Err(status) => answers.failed.push(status),
    }
}

/// How many users the load reads again and again: the first ones.
pub(crate) const WARM: usize = 20;
/// The other users that it reads follow this one.
pub(crate) const FIRST_COLD: usize = 2_000;
const COLD_EVERY: usize = 10;
const PER_SECOND: u32 = 125;
