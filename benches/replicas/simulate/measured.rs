//! What the scripts cost the store's thread, measured with a real one.

use std::{
    fmt::{self, Display, Formatter},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use cognito_lookup::{
    pool::PoolId,
    shared_cache::{
        ServerTime,
        rate_limit::{CallKey, CallerPlace, ClockBounds, SharedRateLimit, Sync, Take, TakeOutcome, WATCH},
    },
};
use tokio::{
    task::JoinSet,
    time::{Duration, Instant, sleep},
};

use crate::{
    replica::{Fleet, sub},
    store::{self, Store},
};

/// Costs of scripts.
pub(super) struct Measured {
    store: String,
    /// The average script of a miss.
    pub(super) script: Duration,
    scripts_of_a_miss: f64,
    takes: Vec<TakeCost>,
}

/// The cost of a take whose log is full.
struct TakeCost {
    limit: usize,
    time: Duration,
    per_second: f64,
}

impl Measured {
    pub(super) async fn now() -> Self {
        let (script, scripts_of_a_miss) = cost_of_misses().await;
        let mut takes = Vec::new();
        for limit in [96, 2_000, 10_000] {
            takes.push(cost_of_takes(limit).await);
        }
        Self { store: store::version(), script, scripts_of_a_miss, takes }
    }
}

impl Display for Measured {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let micros = |time: Duration| time.as_secs_f64() * 1e6;
        let (script, scripts) = (micros(self.script), self.scripts_of_a_miss);
        writeln!(f, "measured with {}:", self.store)?;
        writeln!(
            f,
            "a miss makes {scripts:.2} scripts, which take {script:.1} µs of the store's thread on average"
        )?;
        for TakeCost { limit, time, per_second } in &self.takes {
            let time = micros(*time);
            writeln!(
                f,
                "a take takes {time:.1} µs at {limit} calls a second; {per_second:.0} takes/s were made"
            )?;
        }
        Ok(())
    }
}

/// Returns what a script of a miss costs on average, and how many a miss makes.
async fn cost_of_misses() -> (Duration, f64) {
    let (store, fleet) = (Store::start(), Fleet::start(MISSES).sharing_the_limit());
    let replica = fleet.replica(Some(store.url())).await;
    let permits = replica.permits(0..MISSES).await;
    // Until the log of the rate limit is open.
    sleep(2 * WATCH).await;
    store.command("CONFIG RESETSTAT");
    replica.read(&permits).await;
    let (calls, time) = scripts(&store);
    (time.div_f64(calls as f64), calls as f64 / MISSES as f64)
}

/// Fills a log, and returns what a further take costs.
async fn cost_of_takes(limit: usize) -> TakeCost {
    let (store, fleet) = (Store::start(), Fleet::start(1).sharing_the_limit());
    let shared = fleet.shared_cache(store.url()).await;
    let taker =
        Arc::new(Taker::start(shared.rate_limit("", "eu-west-1").unwrap(), fleet.pool(), limit).await);
    taker.take_for(Duration::from_secs(3)).await;
    store.command("CONFIG RESETSTAT");
    let begun = Instant::now();
    taker.take_for(Duration::from_secs(1)).await;
    let ((calls, time), took) = (scripts(&store), begun.elapsed());
    TakeCost { limit, time: time.div_f64(calls as f64), per_second: calls as f64 / took.as_secs_f64() }
}

/// The calls of scripts since the statistics were reset, and the time that they took.
fn scripts(store: &Store) -> (u64, Duration) {
    let stats = store.command("INFO commandstats");
    let line = stats.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:")).unwrap();
    let number = |name: &str| -> u64 {
        let value = line.split(',').find_map(|part| part.strip_prefix(name)).unwrap();
        value.trim().parse().unwrap()
    };
    (number("calls="), Duration::from_micros(number("usec=")))
}

/// Takes calls that never end.
struct Taker {
    store: SharedRateLimit,
    pool: PoolId,
    limit: usize,
    epoch: String,
    /// The server's time at some time.
    server: ServerTime,
    read: Instant,
    last: AtomicU64,
}

impl Taker {
    /// Waits until calls are granted.
    async fn start(store: SharedRateLimit, pool: PoolId, limit: usize) -> Self {
        let nothing = ServerTime::from_micros(0);
        let unknown = ClockBounds { epoch: "", earliest: nothing, latest: nothing, is_watched: false };
        let synced = store.sync(&sync(unknown)).await.unwrap();
        let (server, read) = (synced.now, Instant::now());
        sleep(WATCH + Duration::from_millis(100)).await;
        let taker = Self { store, pool, limit, epoch: synced.epoch, server, read, last: AtomicU64::new(0) };
        assert!(taker.store.sync(&sync(taker.clock())).await.unwrap().is_open);
        taker
    }

    fn clock(&self) -> ClockBounds<'_> {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap();
        let now = self.server.as_micros() + micros(self.read.elapsed());
        let [earliest, latest] = [now - 5_000, now + 200_000].map(ServerTime::from_micros);
        ClockBounds { epoch: &self.epoch, earliest, latest, is_watched: true }
    }

    async fn take_for(self: &Arc<Self>, time: Duration) {
        let ends = Instant::now() + time;
        let mut tasks = JoinSet::new();
        for task in 0..TASKS {
            let taker = Arc::clone(self);
            tasks.spawn(async move {
                while Instant::now() < ends {
                    taker.take(task).await;
                }
            });
        }
        tasks.join_all().await;
    }

    /// Takes a call about another user, as one of several replicas.
    async fn take(&self, replica: usize) {
        let number = self.last.fetch_add(1, Relaxed);
        let (replica, user) = (format!("replica-{replica}"), usize::try_from(number).unwrap());
        let (call, user) = (CallKey::new(&replica, number), self.store.user(&self.pool, &sub(user)));
        let caller = &self.store.caller(0);
        let place = CallerPlace { caller, replica: &replica, others_wait: true, own_limit: None };
        let (clock, limit) = (self.clock(), self.limit);
        let take = Take { clock, call: &call, category: "UserRead", limit, user: &user, caller: Some(place) };
        // On a busy machine some come late.
        let Ok(taken) = self.store.take(&take).await else { return };
        let is_judged = matches!(taken.outcome, TakeOutcome::Granted(_) | TakeOutcome::Full(..));
        assert!(is_judged, "{taken:?}");
    }
}

fn sync(clock: ClockBounds<'_>) -> Sync<'_> {
    Sync { clock, was_set_back: false, categories: &["UserRead", "UserList", "UserResourceRead"] }
}

const MISSES: usize = 2_000;
const TASKS: usize = 8;
