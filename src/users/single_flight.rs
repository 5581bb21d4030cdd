//! Single flight: at most one fetch per user at a time, in a task that no request owns. Every
//! waiter shares its result.

use std::{
    collections::HashMap,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::FutureExt as _;
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{Instant, timeout_at},
};
use tracing::Instrument as _;

use super::{
    Failure,
    cache::Key,
    entry::{CacheEntry, LookupMethod},
};

/// What a fetch returned. A failure is shared by its waiters and never cached.
pub(super) type FetchResult = Result<CacheEntry, FetchError>;

/// Why a fetch returned nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct FetchError {
    pub(super) failure: Failure,
    /// The lookup method; another one may succeed. None if Cognito was not called.
    pub(super) method: Option<LookupMethod>,
}

impl FetchError {
    /// Returns whether a request with this method need not fetch again: a lookup by `sub` may miss
    /// a user that a lookup by name finds.
    pub(super) fn is_final_for(self, method: LookupMethod) -> bool {
        self.method.is_none_or(|used| used == LookupMethod::ByUsername || method == LookupMethod::BySub)
    }
}

impl From<Failure> for FetchError {
    fn from(failure: Failure) -> Self {
        Self { failure, method: None }
    }
}

/// The fetches in flight; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct SingleFlight {
    in_flight: Arc<Mutex<HashMap<Key, InFlight>>>,
    /// One permit for each fetch that has not ended, detached ones included.
    permits: Arc<Semaphore>,
    max_fetches: usize,
    upstream: Handle,
}

/// How far a fetch has come.
#[derive(Clone, Debug)]
pub(super) enum Progress {
    /// It has not acquired the rate limit yet.
    Started,
    /// The rate limiter has reserved its first call for this time.
    Queued(Instant),
    Done(FetchResult),
}

/// A fetch, as its waiters see it.
type InFlight = watch::Receiver<Progress>;

/// A fetch, as it reports its own progress.
pub(super) type Reporter = watch::Sender<Progress>;

impl SingleFlight {
    /// Allows `max_fetches` at a time. They run on the runtime in which this is called, whatever
    /// runtime their callers are on.
    pub(super) fn new(max_fetches: usize) -> Self {
        let permits = Arc::new(Semaphore::new(max_fetches));
        Self { in_flight: Arc::default(), permits, max_fetches, upstream: Handle::current() }
    }

    /// Waits for the fetch of `key` in flight, or returns what `cached` finds, or else starts
    /// `fetch`. Fails at once if too many fetches are in flight, or if the one in flight cannot
    /// start before `deadline`.
    ///
    /// `fetch` must cache its result before it returns: `cached`, called while no other fetch can
    /// start or end, then cannot miss it. Cancel safe: a caller that leaves neither stops nor
    /// restarts a fetch.
    pub(super) async fn join<F>(
        &self,
        key: Key,
        deadline: Instant,
        cached: impl Fn() -> Option<CacheEntry>,
        fetch: impl FnOnce(Reporter) -> F,
    ) -> FetchResult
    where
        F: Future<Output = FetchResult> + Send + 'static,
    {
        let mut refusals = 0;
        loop {
            let in_flight = match self.join_or_lead(&key, &cached, 0)? {
                Join::Cached(entry) => return Ok(entry),
                Join::Leader(slot, reporter) => {
                    let in_flight = slot.in_flight.clone();
                    self.launch(slot, reporter, fetch);
                    return wait(in_flight, deadline).await?;
                }
                Join::Waiter(in_flight) => in_flight,
            };
            match wait(in_flight, deadline).await? {
                // Refused before it called Cognito, by the limits and the deadline of its leader, which may be
                // a background refresh. They are not this caller's.
                Err(FetchError { method: None, .. }) if refusals < MAX_REFUSALS => refusals += 1,
                result => return result,
            }
        }
    }

    /// Starts `fetch` unless one of `key` is in flight, or half of all permits are taken: the other
    /// half is for requests that wait. Returns whether it started and was not refused at once.
    /// Waits for nothing.
    pub(super) fn refresh<F>(&self, key: Key, fetch: impl FnOnce(Reporter) -> F) -> bool
    where
        F: Future<Output = FetchResult> + Send + 'static,
    {
        let reserved = self.max_fetches.div_ceil(2);
        let Ok(Join::Leader(slot, reporter)) = self.join_or_lead(&key, || None, reserved) else {
            return false;
        };
        let in_flight = slot.in_flight.clone();
        self.launch(slot, reporter, fetch);
        !matches!(&*in_flight.borrow(), Progress::Done(Err(_)))
    }

    /// Runs a task on the runtime of the fetches. The task must be bounded in time.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.upstream.spawn(task);
    }

    /// Detaches the fetch of `key` in flight: new callers start their own. Callers already waiting
    /// still get its result. Returns whether there was one.
    pub(super) fn detach(&self, key: &Key) -> bool {
        self.lock().remove(key).is_some()
    }

    /// Returns whether a fetch of `key` is in flight.
    pub(super) fn has(&self, key: &Key) -> bool {
        self.lock().contains_key(key)
    }

    /// Returns whether a fetch of `key` is in flight, other than that of `reporter`.
    pub(super) fn has_other(&self, key: &Key, reporter: &Reporter) -> bool {
        self.lock().get(key).is_some_and(|fetch| !fetch.same_channel(&reporter.subscribe()))
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    #[cfg(test)]
    pub(super) fn locked(&self) -> impl Sized + '_ {
        self.lock()
    }

    fn join_or_lead(
        &self,
        key: &Key,
        cached: impl FnOnce() -> Option<CacheEntry>,
        reserved: usize,
    ) -> Result<Join, Failure> {
        let mut in_flight = self.lock();
        if let Some(fetch) = in_flight.get(key) {
            return Ok(Join::Waiter(fetch.clone()));
        }
        if let Some(entry) = cached() {
            return Ok(Join::Cached(entry));
        }
        let free = self.permits.available_permits();
        let permit = Arc::clone(&self.permits).try_acquire_owned().ok().filter(|_| free > reserved);
        let permit = permit.ok_or(Failure::Overloaded)?;
        let (reporter, fetch) = watch::channel(Progress::Started);
        in_flight.insert(key.clone(), fetch.clone());
        let slot = Slot { single_flight: self.clone(), key: key.clone(), in_flight: fetch, _permit: permit };
        Ok(Join::Leader(slot, reporter))
    }

    /// Runs the fetch up to its first wait here, and the rest in a task. A fetch that the rate
    /// limit refuses ends here, so a flood of misses costs no tasks. Not under the lock, because
    /// the fetch takes it when it ends.
    fn launch<F>(&self, slot: Slot, reporter: Reporter, fetch: impl FnOnce(Reporter) -> F)
    where
        F: Future<Output = FetchResult> + Send + 'static,
    {
        let fetching = fetch(reporter.clone());
        let task = async move {
            // A panic here must not reach the caller that happened to start the fetch.
            let result = AssertUnwindSafe(fetching).catch_unwind().await;
            // Before the waiters learn of it: one that asks again must not find a fetch that is over.
            drop(slot);
            if let Ok(result) = result {
                reporter.send_replace(Progress::Done(result));
            }
        };
        // In the trace of the call that caused it, though others may wait for it too.
        let mut task = Box::pin(task.in_current_span());
        let _runtime = self.upstream.enter();
        if task.as_mut().now_or_never().is_none() {
            // Never joined: it is bounded by the time limits of its calls, and waiters see it end
            // or vanish.
            self.upstream.spawn(task);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, InFlight>> {
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for the result. Fails itself if the fetch starts so late that waiting until `deadline` is
/// useless. Gives up just before `deadline`, so that the caller still learns that Cognito is slow.
async fn wait(mut fetch: InFlight, deadline: Instant) -> Result<FetchResult, Failure> {
    let is_settled = |progress: &Progress| match progress {
        Progress::Started => false,
        Progress::Queued(starts_at) => *starts_at > Instant::now() && *starts_at >= deadline,
        Progress::Done(_) => true,
    };
    // Without a wait where none is needed: Tokio's cooperative budget would make a refusal wait.
    let progress = fetch.borrow().clone();
    let progress = match is_settled(&progress) {
        true => Some(progress),
        false => {
            let settled = timeout_at(deadline - GIVE_UP_MARGIN, fetch.wait_for(is_settled)).await;
            let settled = settled.map(|settled| settled.ok().map(|progress| progress.clone()));
            match settled {
                Ok(settled) => settled,
                Err(_) if is_slow(&fetch.borrow()) => return Err(Failure::Unavailable),
                // Cognito had too little time. The caller's own deadline ends this.
                Err(_) => fetch.wait_for(is_settled).await.ok().map(|progress| progress.clone()),
            }
        }
    };
    match progress {
        Some(Progress::Done(result)) => Ok(result),
        Some(Progress::Queued(starts_at)) => {
            Err(Failure::BudgetExhausted(starts_at.saturating_duration_since(Instant::now())))
        }
        // The task panicked or the runtime is shutting down.
        Some(Progress::Started) | None => Err(Failure::Internal),
    }
}

/// Returns whether Cognito has taken longer than a healthy one ever does.
fn is_slow(progress: &Progress) -> bool {
    matches!(progress, Progress::Queued(starts_at) if starts_at.elapsed() >= SLOW)
}

enum Join {
    Cached(CacheEntry),
    Waiter(InFlight),
    Leader(Slot, Reporter),
}

/// What a fetch owns from beginning to end. Dropping it takes the fetch out of the map.
struct Slot {
    single_flight: SingleFlight,
    key: Key,
    in_flight: InFlight,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut in_flight = self.single_flight.lock();
        // A detached fetch is not in the map any more, but another of the same key may be.
        if in_flight.get(&self.key).is_some_and(|fetch| fetch.same_channel(&self.in_flight)) {
            in_flight.remove(&self.key);
        }
    }
}

// A caller that finds this many refused fetches of others takes the last refusal for its own.
const GIVE_UP_MARGIN: Duration = Duration::from_millis(10);
// Cognito answers within a fraction of it.
const SLOW: Duration = Duration::from_millis(500);
const MAX_REFUSALS: usize = 3;

#[cfg(test)]
mod tests;
