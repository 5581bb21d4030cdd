use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use tokio::{
    sync::watch,
    task::JoinSet,
    time::{advance, timeout},
};

use super::*;
use crate::shared_cache::{breaker::Breaker, fault::FaultKind};

const LIMIT: Duration = Duration::from_millis(50);

/// A store whose state the test sets.
#[derive(Debug, Default)]
struct Store {
    /// What each connect and probe returns.
    fault: Mutex<Option<FaultKind>>,
    /// How long each probe takes.
    delay: Mutex<Duration>,
    connects: Mutex<Vec<Instant>>,
    probes: AtomicUsize,
    /// Ends the connections whose number is at most this one.
    closed: watch::Sender<usize>,
}

impl Store {
    fn set(&self, fault: Option<FaultKind>) {
        *self.fault.lock().unwrap() = fault;
    }

    fn result(&self) -> Result<(), Fault> {
        let fault = *self.fault.lock().unwrap();
        fault.map_or(Ok(()), |kind| Err(Fault::new(kind, "set by the test")))
    }

    async fn answer(&self) -> Result<(), Fault> {
        let delay = *self.delay.lock().unwrap();
        timeout(LIMIT, sleep(delay)).await.map_err(|_| Fault::timeout())
    }

    fn connects(&self) -> usize {
        self.connects.lock().unwrap().len()
    }
}

impl Connector for Store {
    /// The number of the connection.
    type Connection = usize;

    async fn connect(&self) -> Result<usize, Fault> {
        self.connects.lock().unwrap().push(Instant::now());
        self.answer().await?;
        self.result().map(|()| self.connects())
    }

    async fn probe(&self, _connection: &usize) -> Result<(), Fault> {
        self.probes.fetch_add(1, SeqCst);
        self.answer().await?;
        self.result()
    }

    async fn closed(&self, connection: &usize) {
        let connection = *connection;
        drop(self.closed.subscribe().wait_for(|closed| *closed >= connection).await);
    }
}

/// A lane under supervision.
struct Kept {
    store: Arc<Store>,
    lane: Arc<Lane<usize>>,
    follower: Arc<Lane<usize>>,
    metrics: SharedCacheMetrics,
    _task: JoinSet<()>,
}

impl Kept {
    fn start(fault: Option<FaultKind>, breaker: Option<Breaker>) -> Self {
        let (store, metrics) = (Arc::new(Store::default()), SharedCacheMetrics::default());
        store.set(fault);
        let lane = Arc::new(Lane::new("commands", breaker, &metrics));
        let follower = Arc::new(Lane::new("events", None, &metrics));
        let supervisor = Supervisor {
            connector: Arc::clone(&store),
            lane: Arc::clone(&lane),
            follower: Some(Arc::clone(&follower)),
            heartbeat: Some(Duration::from_secs(1)),
            metrics: metrics.clone(),
        };
        let mut task = JoinSet::new();
        task.spawn(supervisor.run());
        Self { store, lane, follower, metrics, _task: task }
    }

    /// Starts with a store that answers, and waits until the lane is available.
    async fn available() -> Self {
        let kept = Self::start(None, Some(Breaker::new(LIMIT)));
        kept.until(|| kept.lane.is_available()).await;
        kept
    }

    async fn until(&self, is_so: impl Fn() -> bool) {
        for _ in 0..100_000 {
            if is_so() {
                return;
            }
            sleep(Duration::from_millis(1)).await;
        }
        panic!("it never is: {:?} {:?}", self.lane, self.store);
    }

    /// Records a call on the present connection.
    fn call(&self, failure: Option<FaultKind>) {
        let number = self.lane.take_for_probe().unwrap().number();
        let fault = failure.map(|kind| Fault::new(kind, "set by the test"));
        self.lane.record(number, fault.as_ref(), Duration::ZERO);
    }

    fn reconnects(&self, reason: ReconnectReason) -> u64 {
        self.metrics.reconnects.get(reason).get()
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_answer_makes_a_lane_available() {
    let kept = Kept::available().await;
    assert_eq!((kept.store.connects(), kept.store.probes.load(SeqCst)), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn attempts_to_connect_are_spread_and_bounded() {
    // Half of the longest wait on average.
    for (fault, longest, attempts) in
        [(FaultKind::Closed, 1_000, 900..1_600), (FaultKind::Credentials, 5_000, 150..400)]
    {
        let kept = Kept::start(Some(fault), Some(Breaker::new(LIMIT)));
        sleep(Duration::from_secs(600)).await;
        let times = kept.store.connects.lock().unwrap().clone();
        assert!(attempts.contains(&times.len()), "{fault:?}: {}", times.len());
        for (n, pair) in times.windows(2).enumerate() {
            let longest = [500, 1_000, 2_000, 4_000].get(n).copied().unwrap_or(longest).min(longest);
            // A timer fires up to 1 ms late.
            assert!(pair[1] - pair[0] <= Duration::from_millis(longest + 1), "{fault:?}: {n}");
        }
        let most = Duration::from_millis(longest * 4 / 5);
        assert!(times.windows(2).any(|pair| pair[1] - pair[0] > most), "{fault:?}: it backs off");
        assert!(kept.lane.take_for_probe().is_none() && !kept.lane.is_available());
        kept.store.set(None);
        kept.until(|| kept.lane.is_available()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_certain_opens_the_breaker_and_replaces_the_connection() {
    for (kind, reason) in [
        (FaultKind::ReadOnly, ReconnectReason::ReadOnly),
        (FaultKind::NotReady, ReconnectReason::NotReady),
        (FaultKind::Credentials, ReconnectReason::Credentials),
        (FaultKind::Closed, ReconnectReason::Closed),
    ] {
        let kept = Kept::available().await;
        kept.call(Some(kind));
        assert!(!kept.lane.is_available());
        let (begun, probes) = (Instant::now(), kept.store.probes.load(SeqCst));
        kept.until(|| kept.lane.is_available()).await;
        // At most 500 ms before connecting, then three probes.
        let took = begun.elapsed();
        assert!(took >= Duration::from_millis(500) && took < Duration::from_millis(1100), "{took:?}");
        assert_eq!(kept.store.probes.load(SeqCst) - probes, 3, "{kind:?}");
        assert_eq!((kept.store.connects(), kept.reconnects(reason)), (2, 1), "{kind:?}");
        let follows = matches!(kind, FaultKind::ReadOnly | FaultKind::NotReady).then_some(reason);
        assert_eq!(kept.follower.condition().replacement, follows, "{kind:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_store_keeps_its_connection_and_is_probed() {
    let kept = Kept::available().await;
    kept.store.set(Some(FaultKind::Full));
    kept.call(Some(FaultKind::Full));
    sleep(Duration::from_secs(10)).await;
    assert!(!kept.lane.is_available());
    kept.store.set(None);
    kept.until(|| kept.lane.is_available()).await;
    assert_eq!(kept.store.connects(), 1);
}

#[tokio::test(start_paused = true)]
async fn timeouts_replace_the_connection_which_serves_until_then() {
    let kept = Kept::available().await;
    for _ in 0..2 {
        kept.call(Some(FaultKind::Timeout));
    }
    kept.call(None);
    for _ in 0..3 {
        kept.call(Some(FaultKind::Timeout));
        assert!(kept.lane.is_available());
    }
    kept.until(|| kept.store.connects() == 2).await;
    assert_eq!(kept.reconnects(ReconnectReason::Timeouts), 1);
    sleep(Duration::from_millis(10)).await;
    let taken = kept.lane.take().unwrap();
    assert_eq!(taken.connection, 2);
    // A late result of the earlier connection.
    kept.lane.record(taken.number() - 1, Some(&Fault::closed()), Duration::ZERO);
    assert!(kept.lane.is_available());
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_ends_without_a_call_is_replaced() {
    let kept = Kept::available().await;
    kept.store.closed.send_replace(1);
    kept.until(|| !kept.lane.is_available()).await;
    kept.until(|| kept.lane.is_available()).await;
    assert_eq!((kept.store.connects(), kept.reconnects(ReconnectReason::Closed)), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn heartbeats_find_a_frozen_store_without_a_call() {
    let kept = Kept::available().await;
    sleep(Duration::from_secs(60)).await;
    let probes = kept.store.probes.load(SeqCst);
    assert!((58..=61).contains(&probes), "one a second: {probes}");
    *kept.store.delay.lock().unwrap() = Duration::from_secs(1);
    let begun = Instant::now();
    kept.until(|| !kept.lane.is_available()).await;
    // A second up to the heartbeat, three time limits, up to 500 ms before connecting, which fails.
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    sleep(Duration::from_secs(10)).await;
    assert!(!kept.lane.is_available() && kept.reconnects(ReconnectReason::Timeouts) > 0);
    // Answers that are slow do not close the breaker either.
    *kept.store.delay.lock().unwrap() = LIMIT * 3 / 5;
    sleep(Duration::from_secs(10)).await;
    assert!(!kept.lane.is_available());
    *kept.store.delay.lock().unwrap() = Duration::ZERO;
    kept.until(|| kept.lane.is_available()).await;
}

#[tokio::test(start_paused = true)]
async fn calls_make_heartbeats_needless() {
    let kept = Kept::available().await;
    let probes = kept.store.probes.load(SeqCst);
    for _ in 0..100 {
        sleep(Duration::from_millis(500)).await;
        kept.call(None);
    }
    assert_eq!(kept.store.probes.load(SeqCst), probes);
}

#[tokio::test(start_paused = true)]
async fn an_old_connection_is_replaced_without_a_gap() {
    let kept = Kept::available().await;
    advance(MAX_AGE.mul_f64(0.89)).await;
    sleep(Duration::from_millis(10)).await;
    assert_eq!(kept.store.connects(), 1);
    // It stays in use while no other can be established.
    kept.store.set(Some(FaultKind::Credentials));
    advance(MAX_AGE.mul_f64(0.22)).await;
    kept.until(|| kept.store.connects() > 3).await;
    assert!(kept.lane.is_available());
    assert_eq!(kept.lane.take().unwrap().connection, 1);
    kept.store.set(None);
    kept.until(|| kept.lane.take().is_some_and(|taken| taken.connection > 1)).await;
    assert_eq!(kept.reconnects(ReconnectReason::Age), 1);
}

#[tokio::test(start_paused = true)]
async fn a_lane_without_a_breaker_is_unavailable_only_without_a_connection() {
    let kept = Kept::start(None, None);
    kept.until(|| kept.lane.is_available()).await;
    for kind in [FaultKind::Script, FaultKind::Busy, FaultKind::Full] {
        for _ in 0..10 {
            kept.call(Some(kind));
        }
        assert!(kept.lane.is_available(), "{kind:?}");
    }
    for kind in [FaultKind::Timeout, FaultKind::Closed, FaultKind::ReadOnly] {
        let connects = kept.store.connects();
        kept.call(Some(kind));
        assert!(!kept.lane.is_available(), "{kind:?}");
        kept.until(|| kept.lane.is_available()).await;
        assert_eq!(kept.store.connects(), connects + 1, "{kind:?}");
    }
}
