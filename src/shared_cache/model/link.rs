//! The connections of one replica to the model of the store, and their faults.

use std::{
    ops::RangeInclusive,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use futures_util::future::BoxFuture;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until, timeout, timeout_at},
};

use super::{
    super::{breaker::Breaker, fault::FaultKind},
    Call, CallError, Events, Reply, StreamPosition, Transport,
    store::ModelStore,
};

/// The two connections of a replica. Each carries its calls in order. A call ends after its time limit;
/// what it sent may still reach the store.
#[derive(Debug)]
pub(crate) struct ModelLink {
    faults: Arc<Mutex<LinkFaults>>,
    store: ModelStore,
    commands: mpsc::UnboundedSender<Request>,
    events: mpsc::UnboundedSender<Request>,
    breaker: Mutex<Breaker>,
}

/// The faults of a link.
#[derive(Clone, Debug)]
pub(crate) struct LinkFaults {
    /// The time of a request on its way, and that of a reply.
    pub(crate) delay: RangeInclusive<Duration>,
    /// The percentage of requests that do not arrive.
    pub(crate) dropped_requests: u8,
    /// The percentage of replies that do not arrive.
    pub(crate) dropped_replies: u8,
    /// Requests wait on their way, and arrive when this ends.
    pub(crate) is_held: bool,
    /// Nothing is sent: the circuit breaker is open.
    pub(crate) is_cut_off: bool,
    /// Reads of revocations fail.
    pub(crate) fails_revocation_reads: bool,
    /// Timeouts of commands open the circuit breaker, which sets `is_cut_off`.
    pub(crate) has_breaker: bool,
    /// How long a call may take, and a read beyond the time that it waits.
    pub(crate) timeout: Duration,
}

/// `shared_cache.timeout` by default.
pub(crate) const TIMEOUT: Duration = Duration::from_millis(50);

/// One request on its way.
#[derive(Debug)]
struct Request {
    work: Work,
    arrives: Instant,
    run: u64,
    reply: oneshot::Sender<Arrival>,
}

#[derive(Debug)]
enum Work {
    Call(Call),
    Read { key: String, after: StreamPosition, wait: Duration },
}

#[derive(Debug)]
enum Answer {
    Reply(Reply),
    Events(Events),
}

/// A result, and when it arrives.
type Arrival = (Result<Answer, CallError>, Instant);

impl Default for LinkFaults {
    fn default() -> Self {
        Self {
            delay: Duration::ZERO..=Duration::ZERO,
            dropped_requests: 0,
            dropped_replies: 0,
            is_held: false,
            is_cut_off: false,
            fails_revocation_reads: false,
            has_breaker: false,
            timeout: TIMEOUT,
        }
    }
}

impl ModelLink {
    pub(super) fn new(store: ModelStore) -> Self {
        let faults = Arc::default();
        let connect = || {
            let (sender, receiver) = mpsc::unbounded_channel();
            let carrier = Carrier { store: store.clone(), faults: Arc::clone(&faults) };
            #[expect(clippy::disallowed_methods, reason = "ends with its link")]
            tokio::spawn(carrier.run(receiver));
            sender
        };
        let (commands, events) = (connect(), connect());
        let mut breaker = Breaker::new(TIMEOUT);
        assert!(breaker.probed(Some(Duration::ZERO)), "it is closed");
        Self { commands, events, faults, store, breaker: Mutex::new(breaker) }
    }

    /// Changes the faults of this link.
    pub(crate) fn change(&self, change: impl FnOnce(&mut LinkFaults)) {
        change(&mut self.faults());
        self.store.wake();
    }

    async fn send(
        &self,
        connection: &mpsc::UnboundedSender<Request>,
        work: Work,
        wait: Duration,
    ) -> Result<Answer, CallError> {
        let faults = self.faults().clone();
        if faults.is_cut_off {
            return Err(CallError::Unavailable);
        }
        let (reply, answered) = oneshot::channel();
        let run = self.store.run();
        let exchange = async {
            if is_hit(faults.dropped_requests) {
                return std::future::pending().await;
            }
            let arrives = Instant::now() + faults.random_delay();
            connection.send(Request { work, arrives, run, reply }).expect("the connection lasts");
            let (result, arrives) = answered.await.expect("every request is answered");
            if is_hit(faults.dropped_replies) {
                return std::future::pending().await;
            }
            sleep_until(arrives).await;
            if self.store.run() == run { result } else { Err(CallError::Failed) }
        };
        timeout(wait + faults.timeout, exchange).await.unwrap_or(Err(CallError::Timeout))
    }

    fn record(&self, is_timeout: bool, begun: Instant) {
        let (fault, now) = (is_timeout.then_some(FaultKind::Timeout), Instant::now());
        let mut faults = self.faults();
        faults.is_cut_off |=
            faults.has_breaker && self.breaker.lock().unwrap().record(fault, now - begun, now);
    }

    fn faults(&self) -> MutexGuard<'_, LinkFaults> {
        self.faults.lock().unwrap()
    }
}

impl Transport for ModelLink {
    fn is_available(&self) -> bool {
        !self.faults().is_cut_off
    }

    fn call(&self, call: Call) -> BoxFuture<'_, Result<Reply, CallError>> {
        Box::pin(async {
            let begun = Instant::now();
            let result = self.send(&self.commands, Work::Call(call), Duration::ZERO).await;
            self.record(matches!(result, Err(CallError::Timeout)), begun);
            result?.into_reply()
        })
    }

    fn call_for_events(&self, call: Call) -> BoxFuture<'_, Result<Reply, CallError>> {
        Box::pin(async { self.send(&self.events, Work::Call(call), Duration::ZERO).await?.into_reply() })
    }

    fn read<'a>(
        &'a self,
        key: &'a str,
        after: &'a StreamPosition,
        wait: Duration,
    ) -> BoxFuture<'a, Result<Events, CallError>> {
        let work = Work::Read { key: key.into(), after: after.clone(), wait };
        Box::pin(async move {
            if key.contains("{r}") && self.faults().fails_revocation_reads {
                return Err(CallError::Failed);
            }
            self.send(&self.events, work, wait).await?.into_events()
        })
    }
}

impl LinkFaults {
    fn random_delay(&self) -> Duration {
        let micros = |delay: &Duration| u64::try_from(delay.as_micros()).unwrap();
        Duration::from_micros(fastrand::u64(micros(self.delay.start())..=micros(self.delay.end())))
    }
}

/// Carries the requests of one connection to the store, in order.
struct Carrier {
    store: ModelStore,
    faults: Arc<Mutex<LinkFaults>>,
}

impl Carrier {
    async fn run(self, mut requests: mpsc::UnboundedReceiver<Request>) {
        let mut last_reply = Instant::now();
        while let Some(Request { work, arrives, run, reply }) = requests.recv().await {
            sleep_until(arrives).await;
            let result = self.run_at_store(work, run).await;
            let delay = self.faults.lock().unwrap().random_delay();
            last_reply = last_reply.max(Instant::now() + delay);
            // The caller may have given up.
            drop(reply.send((result, last_reply)));
        }
    }

    /// Runs a request, unless the connection ended before.
    async fn run_at_store(&self, work: Work, run: u64) -> Result<Answer, CallError> {
        self.wait_for_store(run).await;
        if self.store.run() != run {
            return Err(CallError::Failed);
        }
        match work {
            Work::Call(call) => self.store.call(&call).map(Answer::Reply),
            Work::Read { key, after, wait } => self.read(&key, &after, wait, run).await,
        }
    }

    async fn wait_for_store(&self, run: u64) {
        let mut changes = self.store.changes();
        let is_stopped = || self.store.is_frozen() || self.faults.lock().unwrap().is_held;
        while self.store.run() == run && is_stopped() {
            changes.changed().await.unwrap();
        }
    }

    async fn read(
        &self,
        key: &str,
        after: &StreamPosition,
        wait: Duration,
        run: u64,
    ) -> Result<Answer, CallError> {
        let mut changes = self.store.changes();
        let until = Instant::now() + wait;
        loop {
            self.wait_for_store(run).await;
            let events = self.store.events(key, after);
            if self.store.run() != run {
                return Err(CallError::Failed);
            }
            if !events.is_empty() || Instant::now() >= until {
                return Ok(Answer::Events(Events(events)));
            }
            // Woken by a change, or at the end.
            drop(timeout_at(until, changes.changed()).await);
        }
    }
}

impl Answer {
    fn into_reply(self) -> Result<Reply, CallError> {
        match self {
            Self::Reply(reply) => Ok(reply),
            Self::Events(_) => panic!("a call returned events"),
        }
    }

    fn into_events(self) -> Result<Events, CallError> {
        match self {
            Self::Events(events) => Ok(events),
            Self::Reply(_) => panic!("a read returned a reply"),
        }
    }
}

/// Returns whether one of a hundred is hit by a fault.
fn is_hit(percentage: u8) -> bool {
    fastrand::u8(..100) < percentage
}
