//! At most one fetch per user at a time, in a task that no caller owns; every waiter shares its result.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::Instant,
};
use tracing::Instrument as _;

use super::{
    Failure,
    entry::{CacheEntry, LookupMethod},
    fence::Fence,
    store::Key,
};

/// What a fetch brought, or why it brought nothing; a failure is shared by its waiters and never stored.
pub(super) type FetchResult = Result<CacheEntry, FetchError>;

/// A fetch that brought nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct FetchError {
    pub(super) failure: Failure,
    /// How Cognito was method: method otherwise, it may answer. None if the failure is our own.
    pub(super) method: Option<LookupMethod>,
}

impl FetchError {
    /// Returns true if and only if a question method this way need not be method anew: `sub` may miss whom a name finds.
    pub(super) fn is_final_for(self, method: LookupMethod) -> bool {
        self.method.is_none_or(|other| other == LookupMethod::ByUsername || method == LookupMethod::BySub)
    }
}

impl From<Failure> for FetchError {
    fn from(failure: Failure) -> Self {
        Self { failure, method: None }
    }
}

/// The fetches under way, or waiting for the budget to let them begin; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct SingleFlight {
    in_flight: Arc<Mutex<HashMap<Key, InFlight>>>,
    /// One for each fetch that has not ended, those that were fenced off and are on no list included.
    room: Arc<Semaphore>,
    most: usize,
    upstream: Handle,
}

/// What a fetch is told: when to begin, and which way what it brings goes into the cache.
#[derive(Clone, Debug)]
pub(super) struct Reservation {
    pub(super) starts_at: Instant,
    pub(super) fence: Fence,
}

/// A fetch as those see it who wait for it.
#[derive(Clone, Debug)]
struct InFlight {
    reservation: Reservation,
    result: watch::Receiver<Option<FetchResult>>,
}

impl SingleFlight {
    /// Makes room for `most` fetches at a time, all of which will run on the runtime in which this is called, whatever
    /// runtime their callers are on.
    pub(super) fn new(most: usize) -> Self {
        let room = Arc::new(Semaphore::new(most));
        Self { in_flight: Arc::default(), room, most, upstream: Handle::current() }
    }

    /// Waits for the fetch of `key` that is under way, or asks `held` once more, or else books and starts one; refused
    /// where too many others are under way, where `reserve` refuses, and where one under way begins too late for `by`.
    ///
    /// `fetch` must cache what it brings, through the fence of its reservation, before it ends: then `held`, method while no other
    /// fetch can start or end, cannot miss it. Cancel safe: a caller that leaves neither stops nor restarts a fetch.
    pub(super) async fn join<F>(
        &self,
        key: Key,
        by: Instant,
        held: impl FnOnce() -> Option<CacheEntry>,
        reserve: impl FnOnce() -> Result<Reservation, Failure>,
        fetch: impl FnOnce(Reservation) -> F,
    ) -> FetchResult
    where
        F: Future<Output = FetchResult> + Send + 'static,
    {
        let mut result = match self.join_or_lead(&key, held, reserve, 0)? {
            Join::Cached(entry) => return Ok(entry),
            Join::Waiter(flight) => flight.in_time(by)?,
            Join::Leader(slot, flight) => {
                self.launch(key, slot, &flight.reservation.fence, fetch(flight.reservation.clone()));
                flight.result
            }
        };
        match result.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(result)) => result.clone(),
            // The task panicked or the runtime is going down.
            _ => Err(Failure::Internal.into()),
        }
    }

    /// Starts a fetch unless one of `key` is under way, `reserve` refuses, or others take half of the room: the other half
    /// is for those whom somebody waits for; tells whether it did. Waits for nothing.
    pub(super) fn refresh<F>(
        &self,
        key: Key,
        reserve: impl FnOnce() -> Result<Reservation, Failure>,
        fetch: impl FnOnce(Reservation) -> F,
    ) -> bool
    where
        F: Future<Output = FetchResult> + Send + 'static,
    {
        let Ok(Join::Leader(slot, flight)) = self.join_or_lead(&key, || None, reserve, self.most.div_ceil(2))
        else {
            return false;
        };
        self.launch(key, slot, &flight.reservation.fence, fetch(flight.reservation.clone()));
        true
    }

    /// Runs a task where the fetches run; it must be bounded in time.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.upstream.spawn(task);
    }

    #[cfg(test)]
    pub(super) fn locked(&self) -> impl Sized + '_ {
        self.in_flight.lock().unwrap()
    }

    /// Closes the fence of the fetch of `key` that is under way, and takes it off the list, where whoever asks from now on
    /// would join it; who waits for it already is still answered. Tells whether there was one.
    pub(super) fn detach(&self, key: &Key) -> bool {
        let flight = self.in_flight.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
        flight.map(|flight| flight.reservation.fence.close()).is_some()
    }

    /// Returns true if and only if a fetch of `key` is under way.
    pub(super) fn has(&self, key: &Key) -> bool {
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner).contains_key(key)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.in_flight.lock().unwrap().len()
    }

    fn join_or_lead(
        &self,
        key: &Key,
        held: impl FnOnce() -> Option<CacheEntry>,
        reserve: impl FnOnce() -> Result<Reservation, Failure>,
        left: usize,
    ) -> Result<Join, FetchError> {
        let mut single_flight = self.in_flight.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = single_flight.get(key) {
            return Ok(Join::Waiter(flight.clone()));
        }
        if let Some(entry) = held() {
            return Ok(Join::Cached(entry));
        }
        let free = self.room.available_permits();
        let place = Arc::clone(&self.room).try_acquire_owned().ok().filter(|_| free > left);
        let place = place.ok_or(Failure::Overloaded)?;
        let reservation = reserve()?;
        let (sender, result) = watch::channel(None);
        let flight = InFlight { reservation, result };
        single_flight.insert(key.clone(), flight.clone());
        Ok(Join::Leader(LeaderSlot { place, sender }, flight))
    }

    /// Not under the lock, which a runtime that is going down would take again by dropping the task at once.
    fn launch<F>(&self, key: Key, slot: LeaderSlot, fence: &Fence, fetch: F)
    where
        F: Future<Output = FetchResult> + Send + 'static,
    {
        let LeaderSlot { place, sender } = slot;
        let remove_on_drop = RemoveOnDrop { single_flight: self.clone(), key, fence: fence.clone() };
        // Never joined: it is bounded by the time limits of its calls, and whoever waits sees it end or vanish.
        let flying = async move {
            let landed = fetch.await;
            // Before the news: a waiter who asks again must not find a fetch that is over.
            drop((remove_on_drop, place));
            sender.send_replace(Some(landed));
        };
        // In the trace of the call that caused it, though others may wait for it too.
        self.upstream.spawn(flying.in_current_span());
    }
}

impl InFlight {
    /// Returns where to wait, unless the fetch begins so late that nothing comes of waiting until `by`.
    fn in_time(self, by: Instant) -> Result<watch::Receiver<Option<FetchResult>>, FetchError> {
        let now = Instant::now();
        let starts_at = self.reservation.starts_at;
        if starts_at > now && starts_at >= by {
            return Err(Failure::BudgetExhausted(starts_at - now).into());
        }
        Ok(self.result)
    }
}

enum Join {
    Cached(CacheEntry),
    Waiter(InFlight),
    Leader(LeaderSlot, InFlight),
}

/// What a fetch has of its own from beginning to end: its place in the room, and the word to those who wait.
struct LeaderSlot {
    place: OwnedSemaphorePermit,
    sender: watch::Sender<Option<FetchResult>>,
}

/// Takes a fetch off the list, however it ends.
struct RemoveOnDrop {
    single_flight: SingleFlight,
    key: Key,
    fence: Fence,
}

impl Drop for RemoveOnDrop {
    fn drop(&mut self) {
        let mut single_flight = self.single_flight.in_flight.lock().unwrap_or_else(PoisonError::into_inner);
        // One that was fenced off is not on the list any more, but another may be.
        if single_flight.get(&self.key).is_some_and(|flight| flight.reservation.fence.is(&self.fence)) {
            single_flight.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };

    use futures_util::{FutureExt as _, future::join_all};
    use tokio::{sync::Notify, task::yield_now, time::sleep_until};

    use super::*;
    use crate::{
        freshness::TimePoint,
        users::{
            entry::{Content, LookupMethod},
            store::EntryKind,
        },
    };

    #[tokio::test]
    async fn every_waiter_shares_one_fetch() {
        let (single_flight, count, gate) =
            (SingleFlight::new(MAX_FETCHES), Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let waiters =
            (0..1000).map(|_| single_flight.join(key(), later(), || None, now, |_| counted(&count, &gate)));
        let open = async {
            yield_now().await;
            gate.notify_one();
        };
        let (landings, ()) = tokio::join!(join_all(waiters), open);
        assert!(landings.iter().all(Result::is_ok));
        assert_eq!(count.load(Ordering::SeqCst), 1);
        assert!(single_flight.in_flight.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_thousand_callers_that_leave_change_nothing() {
        let (single_flight, count, gate) =
            (SingleFlight::new(MAX_FETCHES), Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        for _ in 0..1000 {
            let leaving = single_flight.join(key(), later(), || None, now, |_| counted(&count, &gate));
            tokio::select! {
                biased;
                _ = leaving => panic!("landed too early"),
                () = yield_now() => {}
            }
        }
        gate.notify_one();
        assert!(single_flight.join(key(), later(), || None, now, |_| counted(&count, &gate)).await.is_ok());
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn what_landed_meanwhile_is_not_fetched_again() {
        let single_flight = SingleFlight::new(MAX_FETCHES);
        let result = single_flight
            .join(key(), later(), || Some(entry()), now, |_| async { Err(Failure::Throttled.into()) })
            .await;
        assert!(result.is_ok());
        assert!(single_flight.in_flight.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_refresh_waits_for_nothing_and_is_joined() {
        let (single_flight, count, gate) =
            (SingleFlight::new(MAX_FETCHES), Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        for _ in 0..3 {
            single_flight.refresh(key(), now, |_| counted(&count, &gate));
        }
        gate.notify_one();
        assert!(single_flight.join(key(), later(), || None, now, |_| counted(&count, &gate)).await.is_ok());
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn refreshes_leave_half_of_the_room() {
        let (single_flight, count, gate) =
            (SingleFlight::new(MAX_FETCHES), Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        for n in 0..MAX_FETCHES {
            let key = Key { sub: format!("user-{n}").parse().unwrap(), ..key() };
            single_flight.refresh(key, now, |_| counted(&count, &gate));
        }
        assert_eq!(single_flight.in_flight.lock().unwrap().len(), MAX_FETCHES / 2);
        let waited_for = single_flight.join(key(), later(), || None, now, |_| async { Ok(entry()) }).await;
        assert!(waited_for.is_ok());
    }

    #[tokio::test]
    async fn a_failure_is_shared_and_not_kept() {
        let single_flight = SingleFlight::new(MAX_FETCHES);
        let fail =
            || single_flight.join(key(), later(), || None, now, |_| async { Err(Failure::Throttled.into()) });
        let (one, two) = tokio::join!(fail(), fail());
        assert_eq!([one.unwrap_err().failure, two.unwrap_err().failure], [Failure::Throttled; 2]);
        assert!(single_flight.join(key(), later(), || None, now, |_| async { Ok(entry()) }).await.is_ok());
    }

    #[tokio::test]
    async fn a_fetch_that_panics_is_lost_and_cleared() {
        let single_flight = SingleFlight::new(MAX_FETCHES);
        let wait = || single_flight.join(key(), later(), || None, now, |_| async { panic!("a bug") });
        let (first, follower) = tokio::join!(wait(), wait());
        assert_eq!([first.unwrap_err().failure, follower.unwrap_err().failure], [Failure::Internal; 2]);
        assert!(single_flight.join(key(), later(), || None, now, |_| async { Ok(entry()) }).await.is_ok());
    }

    #[tokio::test]
    async fn too_many_fetches_at_once_are_refused_and_end() {
        let (single_flight, count, gate) =
            (SingleFlight::new(MAX_FETCHES), Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let numbered = |n: usize| Key { sub: format!("user-{n}").parse().unwrap(), ..key() };
        let mut waiting: Vec<_> = (0..MAX_FETCHES)
            .map(|n| {
                Box::pin(single_flight.join(numbered(n), later(), || None, now, |_| counted(&count, &gate)))
            })
            .collect();
        for flight in &mut waiting {
            assert!(flight.now_or_never().is_none());
        }
        let refused =
            single_flight.join(numbered(MAX_FETCHES), later(), || None, now, |_| counted(&count, &gate));
        let refused = refused.now_or_never().expect("refused at once");
        assert_eq!(refused.unwrap_err().failure, Failure::Overloaded);
        let joined = single_flight.join(numbered(0), later(), || None, now, |_| counted(&count, &gate));
        let open = async {
            while count.load(Ordering::SeqCst) < MAX_FETCHES {
                yield_now().await;
            }
            gate.notify_waiters();
        };
        let (joined, all, ()) = tokio::join!(joined, join_all(waiting), open);
        assert!(joined.is_ok() && all.iter().all(Result::is_ok));
        assert!(single_flight.in_flight.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn who_is_fenced_off_takes_room_until_the_end() {
        let (single_flight, count, gate) =
            (SingleFlight::new(2), Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let join = || single_flight.join(key(), later(), || None, now, |_| counted(&count, &gate));
        let (mut first, mut second) = (Box::pin(join()), Box::pin(join()));
        assert!(first.as_mut().now_or_never().is_none() && single_flight.detach(&key()));
        assert!(second.as_mut().now_or_never().is_none() && single_flight.detach(&key()));
        let refused = join().now_or_never().expect("refused at once").unwrap_err();
        assert_eq!(refused.failure, Failure::Overloaded);
        yield_now().await;
        gate.notify_waiters();
        assert!(first.await.is_ok() && second.await.is_ok() && single_flight.room.available_permits() == 2);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_cannot_wait_for_the_beginning_is_refused_at_once() {
        let single_flight = SingleFlight::new(MAX_FETCHES);
        let (begin, second) = (Instant::now(), Duration::from_secs(1));
        let fetch = |reservation: Reservation| async move {
            sleep_until(reservation.starts_at).await;
            Ok(entry())
        };
        let patient =
            single_flight.join(key(), begin + 2 * second, || None, || Ok(reservation(begin + second)), fetch);
        let mut patient = Box::pin(patient);
        assert!(patient.as_mut().now_or_never().is_none());
        let hasty =
            single_flight.join(key(), begin + second / 2, || None, || panic!("reserved twice"), fetch);
        let refused = hasty.now_or_never().expect("refused at once").unwrap_err();
        assert_eq!(refused.failure, Failure::BudgetExhausted(second));
        assert!(patient.await.is_ok());
        assert_eq!(Instant::now(), begin + second);
    }

    #[tokio::test]
    async fn what_is_not_booked_is_not_begun() {
        let single_flight = SingleFlight::new(MAX_FETCHES);
        let spent = || Err(Failure::BudgetExhausted(Duration::from_secs(1)));
        let begun = |_| async { panic!("begun") };
        let refused = single_flight.join(key(), later(), || None, spent, begun).await.unwrap_err();
        assert_eq!(refused.failure, Failure::BudgetExhausted(Duration::from_secs(1)));
        single_flight.refresh(key(), spent, begun);
        assert!(single_flight.in_flight.lock().unwrap().is_empty());
    }

    fn now() -> Result<Reservation, Failure> {
        Ok(reservation(Instant::now()))
    }

    fn reservation(starts_at: Instant) -> Reservation {
        Reservation { starts_at, fence: Fence::default() }
    }

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(3)
    }

    fn counted(
        count: &Arc<AtomicUsize>,
        gate: &Arc<Notify>,
    ) -> impl Future<Output = FetchResult> + Send + use<> {
        let (count, gate) = (Arc::clone(count), Arc::clone(gate));
        async move {
            count.fetch_add(1, Ordering::SeqCst);
            gate.notified().await;
            Ok(entry())
        }
    }

    fn entry() -> CacheEntry {
        let content = Content::Absent(LookupMethod::BySub);
        CacheEntry { content, began: TimePoint::now(), failed: None, expired: false, ttl_jitter: 100 }
    }

    const MAX_FETCHES: usize = 256;

    fn key() -> Key {
        Key { pool: "eu-west-1_A".parse().unwrap(), sub: "a".parse().unwrap(), kind: EntryKind::Profile }
    }
}
