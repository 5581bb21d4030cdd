use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use cognito_lookup::proto::{GetUserRequest, user_service_client::UserServiceClient};
use cognito_standin::StandIn;
use tokio::{
    task::{JoinHandle, JoinSet},
    time::{Instant, interval},
};
use tonic::{Code, Request, transport::Channel};

use crate::replicas::fleet::{Fleet, USERS, sub};

/// Steady reads of users that no cache has, at all replicas, of both pools.
pub(super) struct Demand {
    counts: Arc<Counts>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Counts {
    asked: AtomicUsize,
    answered: AtomicUsize,
    exhausted: AtomicUsize,
    failed: AtomicUsize,
}

impl Demand {
    pub(super) fn start(fleet: &Fleet, pools: [&StandIn; 2], per_second: usize) -> Self {
        let channels: Vec<_> = fleet.replicas.iter().map(|replica| replica.channel.clone()).collect();
        let pools = pools.map(|pool| pool.pool_id().to_owned());
        let counts: Arc<Counts> = Arc::default();
        let of_task = Arc::clone(&counts);
        #[expect(clippy::disallowed_methods, reason = "aborted on drop")]
        let task = tokio::spawn(async move {
            let mut ticks = interval(Duration::from_secs(1) / u32::try_from(per_second).unwrap());
            let mut calls = JoinSet::new();
            for n in 0.. {
                ticks.tick().await;
                let (pool, read) = (pools[n % 2].clone(), n / 2);
                let channel = channels[read % channels.len()].clone();
                // The replicas take turns with each user.
                let request = request(pool, read % (USERS - 1));
                calls.spawn(ask(channel, request, Arc::clone(&of_task)));
                while calls.try_join_next().is_some() {}
            }
        });
        Self { counts, task }
    }

    pub(super) fn outcomes(&self) -> String {
        let Counts { asked, answered, exhausted, failed } = &*self.counts;
        let [asked, answered, exhausted, failed] =
            [asked, answered, exhausted, failed].map(|count| count.load(Ordering::SeqCst));
        format!("{asked} reads: {answered} answered, {exhausted} refused by the limit, {failed} too late")
    }

    /// Asserts that there was ten times the load that the limit lets pass.
    pub(super) fn assert_tenfold(&self, during: &Range<Instant>, limit: usize) {
        let asked = self.counts.asked.load(Ordering::SeqCst) as f64;
        let per_second = asked / (during.end - during.start).as_secs_f64();
        assert!(per_second > 9.0 * limit as f64, "{per_second} reads a second");
        assert!(self.counts.answered.load(Ordering::SeqCst) > 0);
    }
}

impl Drop for Demand {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn request(pool: String, user: usize) -> Request<GetUserRequest> {
    let message = GetUserRequest { sub: sub(user), user_pool_id: pool, ..GetUserRequest::default() };
    let mut request = Request::new(message);
    request.set_timeout(PATIENCE);
    request
}

async fn ask(channel: Channel, request: Request<GetUserRequest>, counts: Arc<Counts>) {
    counts.asked.fetch_add(1, Ordering::SeqCst);
    let count = match UserServiceClient::new(channel).get_user(request).await {
        Ok(_) => &counts.answered,
        Err(status) if status.code() == Code::ResourceExhausted => &counts.exhausted,
        Err(_) => &counts.failed,
    };
    count.fetch_add(1, Ordering::SeqCst);
}

/// How long a caller waits.
const PATIENCE: Duration = Duration::from_millis(400);
