//! Single flight: at most one fetch per user at a time, in a task that no request owns. Every
//! waiter shares its result.

mod in_flight;

use std::{
    collections::HashMap,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::FutureExt as _;
use tokio::{runtime::Handle, task::JoinError, time::Instant};
use tracing::Instrument as _;

use self::in_flight::InFlight;
pub(super) use self::in_flight::{FetchError, FetchResult, Fetched, Reporter};
use super::{Failure, cache::Key, entry::CacheEntry, limiter::FetchId};

/// The fetches in flight; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct SingleFlight {
    flights: Arc<Mutex<Flights>>,
    max_fetches: usize,
    upstream: Handle,
}

#[derive(Debug, Default)]
struct Flights {
    in_flight: HashMap<Key, InFlight>,
    /// How many fetches have not ended, detached ones included, by the caller that started them;
    /// none for refreshes.
    started_by: HashMap<Option<usize>, usize>,
    last_id: FetchId,
}

impl SingleFlight {
    /// Allows `max_fetches` at a time. They run on the runtime in which this is called, whatever
    /// runtime their callers are on.
    pub(super) fn new(max_fetches: usize) -> Self {
        Self { flights: Arc::default(), max_fetches, upstream: Handle::current() }
    }

    /// Waits for the fetch of `key` in flight, or returns what `cached` finds, or else starts
    /// `fetch`. Fails at once if too many fetches of `caller` are in flight, and as soon as the
    /// fetch is not expected to call Cognito in time before `deadline`.
    ///
    /// `fetch` must cache its result before it returns: `cached`, called while no other fetch can
    /// start or end, then cannot miss it. `expected_at` lets this request wait for a fetch, and
    /// returns when that begins; none if it has begun. Cancel safe: a caller that leaves neither
    /// stops nor restarts a fetch.
    pub(super) async fn join<F>(
        &self,
        key: Key,
        caller: usize,
        deadline: Instant,
        cached: impl Fn() -> Option<CacheEntry>,
        expected_at: impl Fn(FetchId) -> Option<Instant>,
        fetch: impl FnOnce(Reporter) -> F,
    ) -> FetchResult
    where
        F: Future<Output = FetchResult> + Send + 'static,
    {
        let mut refusals = 0;
        loop {
            let in_flight = match self.join_or_lead(&key, &cached, Some(caller))? {
                Join::Cached(entry) => return Ok(Fetched::from_origin(entry)),
                Join::Leader(slot, reporter) => {
                    let in_flight = slot.in_flight.clone();
                    self.launch(slot, reporter, fetch);
                    return in_flight.result(deadline, expected_at).await?;
                }
                Join::Waiter(in_flight) => in_flight,
            };
            match in_flight.join(deadline, &expected_at).await? {
                // Refused before it called Cognito, by the limits and the deadline of another caller, or as a
                // background refresh. They are not this caller's.
                Err(FetchError { method: None, .. }) if refusals < MAX_REFUSALS => refusals += 1,
                result => return result,
            }
        }
    }

    /// Starts `fetch` unless one of `key` is in flight, or refreshes have half of what is left for
    /// fetches. Returns whether it started and was not refused at once. Waits for nothing.
    pub(super) fn refresh<F>(&self, key: Key, fetch: impl FnOnce(Reporter) -> F) -> bool
    where
        F: Future<Output = FetchResult> + Send + 'static,
    {
        let Ok(Join::Leader(slot, reporter)) = self.join_or_lead(&key, || None, None) else {
            return false;
        };
        let in_flight = slot.in_flight.clone();
        self.launch(slot, reporter, fetch);
        !in_flight.has_failed()
    }

    /// Returns an id that no fetch has, for calls of the rate limiter that are no fetch.
    pub(super) fn next_id(&self) -> FetchId {
        let mut flights = self.lock();
        flights.last_id.0 += 1;
        flights.last_id
    }

    /// Runs a task on the runtime of the fetches. The task must be bounded in time.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.upstream.spawn(task);
    }

    /// Runs a task on the runtime of the fetches, and waits for its result. The task goes on if its
    /// caller leaves, so it must be bounded in time.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        task: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, JoinError> {
        self.upstream.spawn(task).await
    }

    /// Detaches the fetch of `key` in flight: new callers start their own. Callers already waiting
    /// still get its result. Returns whether there was one.
    pub(super) fn detach(&self, key: &Key) -> bool {
        self.lock().in_flight.remove(key).is_some()
    }

    /// Returns whether a fetch of `key` is in flight.
    pub(super) fn has(&self, key: &Key) -> bool {
        self.lock().in_flight.contains_key(key)
    }

    /// Returns whether a fetch of `key` is in flight, other than that of `reporter`.
    pub(super) fn has_other(&self, key: &Key, reporter: &Reporter) -> bool {
        self.lock().in_flight.get(key).is_some_and(|fetch| fetch.id != reporter.id)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.lock().in_flight.len()
    }

    #[cfg(test)]
    pub(super) fn locked_total(&self) -> usize {
        self.lock().started_by.values().sum()
    }

    #[cfg(test)]
    pub(super) fn locked(&self) -> impl Sized + '_ {
        self.lock()
    }

    fn join_or_lead(
        &self,
        key: &Key,
        cached: impl FnOnce() -> Option<CacheEntry>,
        caller: Option<usize>,
    ) -> Result<Join, Failure> {
        let mut flights = self.lock();
        if let Some(fetch) = flights.in_flight.get(key) {
            return Ok(Join::Waiter(fetch.clone()));
        }
        if let Some(entry) = cached() {
            return Ok(Join::Cached(entry));
        }
        flights.admit(caller, self.max_fetches)?;
        flights.last_id.0 += 1;
        let (reporter, in_flight) = InFlight::start(flights.last_id);
        flights.in_flight.insert(key.clone(), in_flight.clone());
        let slot = Slot { single_flight: self.clone(), key: key.clone(), caller, in_flight };
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
                reporter.done(result);
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

    fn lock(&self) -> MutexGuard<'_, Flights> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flights {
    /// Counts a fetch, or fails if its caller has as many as are left for the others. So one
    /// caller gets half of all, and of several each gets as many as are left.
    fn admit(&mut self, caller: Option<usize>, max_fetches: usize) -> Result<(), Failure> {
        let all: usize = self.started_by.values().sum();
        let own = self.started_by.entry(caller).or_default();
        if *own >= max_fetches.saturating_sub(all) {
            return Err(Failure::Overloaded);
        }
        *own += 1;
        Ok(())
    }
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
    caller: Option<usize>,
    in_flight: InFlight,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut flights = self.single_flight.lock();
        // A detached fetch is not in the map any more, but another of the same key may be.
        if flights.in_flight.get(&self.key).is_some_and(|fetch| fetch.id == self.in_flight.id) {
            flights.in_flight.remove(&self.key);
        }
        if let Some(started) = flights.started_by.get_mut(&self.caller) {
            *started = started.saturating_sub(1);
        }
    }
}

// A caller that finds this many refused fetches of others takes the last refusal for its own.
const MAX_REFUSALS: usize = 3;

#[cfg(test)]
mod tests;
