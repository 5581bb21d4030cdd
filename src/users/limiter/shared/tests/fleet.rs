//! Limiters of several replicas, and the calls that they let begin.

use std::sync::Mutex;

use tokio::{task::JoinSet, time::sleep};

use super::super::super::*;
use crate::{
    shared_cache::{
        SharedCache,
        fixtures::{index_key, sealer},
        model::{ModelLink, ModelStore},
        rate_limit::RateLimitSharing,
    },
    users::{EntryKind, fixtures::Duration},
};

/// Replicas in front of one store and one Cognito.
pub(super) struct Fleet {
    pub(super) store: ModelStore,
    pub(super) replicas: Vec<Replica>,
    pub(super) calls: Arc<Mutex<Vec<Call>>>,
    pub(super) latency: Duration,
}

pub(super) struct Replica {
    pub(super) link: Arc<ModelLink>,
    pub(super) limiter: Arc<RateLimiter>,
}

/// A call that began.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    pub(super) at: Instant,
    pub(super) replica: usize,
    pub(super) caller: usize,
    pub(super) user: u64,
}

/// What is asked for, over and over, by one caller at one replica.
#[derive(Clone, Copy)]
pub(super) struct Load {
    pub(super) replica: usize,
    pub(super) account: Account,
    pub(super) per_second: u64,
    pub(super) deadline: Duration,
}

impl Fleet {
    /// Starts so many replicas, with a limit of so many user reads a second.
    pub(super) fn start(replicas: usize, rate: usize) -> Self {
        fastrand::seed(7);
        let store = ModelStore::new();
        let settings = BudgetSettings { user_reads_per_second: Some(rate), ..BudgetSettings::default() };
        let replicas = (0..replicas).map(|_| Replica::start(&store, &settings)).collect();
        Self { store, replicas, calls: Arc::default(), latency: Duration::from_millis(30) }
    }

    /// Starts so many replicas, and waits until the limit is shared.
    pub(super) async fn open(replicas: usize, rate: usize) -> Self {
        let fleet = Self::start(replicas, rate);
        sleep(Duration::from_millis(2_500)).await;
        fleet
    }

    /// Every caller in the table asks for so long.
    pub(super) async fn run(&self, loads: &[Load], time: Duration) {
        let ends = Instant::now() + time;
        let mut tasks = JoinSet::new();
        for load in loads.iter().copied() {
            let limiter = Arc::clone(&self.replicas[load.replica].limiter);
            let (calls, latency) = (Arc::clone(&self.calls), self.latency);
            tasks.spawn(async move {
                let mut fetches = JoinSet::new();
                while Instant::now() < ends {
                    let fetch = fetch(Arc::clone(&limiter), load, new_user(), Arc::clone(&calls), latency);
                    fetches.spawn(async move { fetch.await.is_ok() });
                    while fetches.try_join_next().is_some() {}
                    sleep(Duration::from_secs(1) / u32::try_from(load.per_second).unwrap()).await;
                }
                fetches.abort_all();
            });
        }
        tasks.join_all().await;
    }

    /// Asks for one call about this user.
    pub(super) async fn ask(&self, load: Load, user: u64) -> Result<(), Failure> {
        let limiter = Arc::clone(&self.replicas[load.replica].limiter);
        fetch(limiter, load, user, Arc::clone(&self.calls), self.latency).await
    }

    /// Returns how many calls began from then on.
    pub(super) fn count_since(&self, since: Instant, wanted: impl Fn(&Call) -> bool) -> usize {
        self.calls.lock().unwrap().iter().filter(|call| call.at >= since && wanted(call)).count()
    }

    /// Returns the most such calls in any second from then on.
    pub(super) fn most_since(&self, since: Instant, wanted: impl Fn(&Call) -> bool) -> usize {
        let calls = self.calls.lock().unwrap();
        let mut times: Vec<_> =
            calls.iter().filter(|call| call.at >= since && wanted(call)).map(|call| call.at).collect();
        times.sort_unstable();
        let (mut first, mut most) = (0, 0);
        for (last, at) in times.iter().enumerate() {
            while times[first] + Duration::from_secs(1) <= *at {
                first += 1;
            }
            most = most.max(last + 1 - first);
        }
        most
    }

    pub(super) fn scopes(&self) -> Vec<LimitScope> {
        self.replicas.iter().map(|replica| replica.limiter.scope()).collect()
    }
}

impl Replica {
    fn start(store: &ModelStore, settings: &BudgetSettings) -> Self {
        let link = Arc::new(store.link());
        let transport: Arc<ModelLink> = Arc::clone(&link);
        let keys = ("cl".parse().unwrap(), index_key("index"), sealer("cl", &["value"]));
        let sharing = RateLimitSharing { replicas_at_most: 4 };
        let cache = SharedCache::new(transport, keys, Some(sharing), Metrics::new().shared_entries);
        let store = cache.rate_limit("", "eu-west-1").unwrap();
        let limiter = RateLimiter::shared(settings, store, &UpstreamMetrics::default());
        Self { link, limiter }
    }
}

async fn fetch(
    limiter: Arc<RateLimiter>,
    load: Load,
    user: u64,
    calls: Arc<Mutex<Vec<Call>>>,
    latency: Duration,
) -> Result<(), Failure> {
    let ticket = limiter.open(new_id(), load.account, key(user));
    ticket.queue(QuotaCategory::UserReads, CallKind::First, Instant::now() + load.deadline)?;
    ticket.begun().await?;
    let (at, Load { replica, account, .. }) = (Instant::now(), load);
    calls.lock().unwrap().push(Call { at, replica, caller: account.caller(), user });
    sleep(latency.mul_f64(0.5 + fastrand::f64())).await;
    ticket.end(true);
    Ok(())
}

/// A caller that asks for more than it gets.
pub(super) fn load(replica: usize, caller: usize, per_second: u64) -> Load {
    let caller_limit = CallerRateLimit { caller, misses_per_second: None };
    let account = Account { priority: Priority::Single, caller_limit };
    Load { replica, account, per_second, deadline: Duration::from_secs(2) }
}

pub(super) fn new_user() -> u64 {
    fastrand::u64(..)
}

fn new_id() -> FetchId {
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
    static LAST: AtomicU64 = AtomicU64::new(0);
    FetchId(LAST.fetch_add(1, Relaxed))
}

fn key(user: u64) -> Key {
    let sub = format!("user-{user}").parse().unwrap();
    Key { pool: "eu-west-1_A".parse().unwrap(), sub, kind: EntryKind::Profile }
}
