use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use cognito_lookup::proto::user_service_client::UserServiceClient;
use tokio::{
    sync::Mutex,
    task::{JoinHandle, JoinSet},
    time::interval,
};
use tonic::{Code, Status, transport::Channel};

use super::fleet::{Fleet, sub};
use crate::support::about;

/// Steady reads over all replicas, of users that all of them have and of users that none has.
pub(crate) struct Load {
    answered: Arc<AtomicUsize>,
    failed: Arc<Mutex<Vec<Status>>>,
    task: JoinHandle<()>,
}

impl Load {
    /// Reads the warm users everywhere, then starts.
    pub(crate) async fn start(fleet: &Fleet) -> Self {
        fleet.warm(0..WARM).await;
        let channels: Vec<_> = fleet.replicas.iter().map(|replica| replica.channel.clone()).collect();
        let (answered, failed) = (Arc::default(), Arc::default());
        let (answers, failures) = (Arc::clone(&answered), Arc::clone(&failed));
        #[expect(clippy::disallowed_methods, reason = "aborted on drop")]
        let task = tokio::spawn(async move {
            let (mut ticks, mut calls) = (interval(PERIOD), JoinSet::new());
            for n in 0.. {
                ticks.tick().await;
                let user = if n % COLD_EVERY == 0 { FIRST_COLD + n / COLD_EVERY } else { n % WARM };
                let channel = channels[n % channels.len()].clone();
                calls.spawn(read(channel, user, Arc::clone(&answers), Arc::clone(&failures)));
                while calls.try_join_next().is_some() {}
            }
        });
        Self { answered, failed, task }
    }

    /// Asserts that no read has failed until now, and that there were some since the last time.
    pub(crate) async fn assert_none_failed(&self, when: &str) {
        let failed = self.failed.lock().await;
        assert!(failed.is_empty(), "{when}: {} reads failed, the first with {:?}", failed.len(), failed[0]);
        assert!(self.answered.swap(0, Ordering::SeqCst) > 0, "{when}: nothing was read");
    }

    /// Returns the codes of the reads that failed.
    pub(crate) async fn failures(&self) -> Vec<Code> {
        self.failed.lock().await.iter().map(Status::code).collect()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn read(channel: Channel, user: usize, answered: Arc<AtomicUsize>, failed: Arc<Mutex<Vec<Status>>>) {
    match UserServiceClient::new(channel).get_user(about(&sub(user))).await {
        Ok(_) => drop(answered.fetch_add(1, Ordering::SeqCst)),
        Err(status) => failed.lock().await.push(status),
    }
}

/// How many users the load reads again and again: the first ones.
pub(crate) const WARM: usize = 20;
/// The other users that it reads follow this one.
pub(crate) const FIRST_COLD: usize = 2_000;
const COLD_EVERY: usize = 10;
const PERIOD: Duration = Duration::from_millis(8);
