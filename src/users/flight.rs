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
    fence::Fence,
    snapshot::{Asked, Snapshot},
    store::Key,
};

/// What a fetch brought, or why it brought nothing; a failure is shared by its waiters and never stored.
pub(super) type Landing = Result<Snapshot, Failed>;

/// A fetch that brought nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Failed {
    pub(super) failure: Failure,
    /// How Cognito was asked: asked otherwise, it may answer. None if the failure is our own.
    pub(super) asked: Option<Asked>,
}

impl Failed {
    /// Returns true if and only if a question asked this way need not be asked anew: `sub` may miss whom a name finds.
    pub(super) fn is_final_for(self, asked: Asked) -> bool {
        self.asked.is_none_or(|other| other == Asked::ByUsername || asked == Asked::BySub)
    }
}

impl From<Failure> for Failed {
    fn from(failure: Failure) -> Self {
        Self { failure, asked: None }
    }
}

/// The fetches under way, or waiting for the budget to let them begin; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Flights {
    under_way: Arc<Mutex<HashMap<Key, Flight>>>,
    /// One for each fetch that has not ended, those that were fenced off and are on no list included.
    room: Arc<Semaphore>,
    most: usize,
    upstream: Handle,
}

/// What a fetch is told: when to begin, and which way what it brings goes into the store.
#[derive(Clone, Debug)]
pub(super) struct Ticket {
    pub(super) departs: Instant,
    pub(super) fence: Fence,
}

/// A fetch as those see it who wait for it.
#[derive(Clone, Debug)]
struct Flight {
    ticket: Ticket,
    landing: watch::Receiver<Option<Landing>>,
}

impl Flights {
    /// Makes room for `most` fetches at a time, all of which will run on the runtime in which this is called, whatever
    /// runtime their callers are on.
    pub(super) fn new(most: usize) -> Self {
        let room = Arc::new(Semaphore::new(most));
        Self { under_way: Arc::default(), room, most, upstream: Handle::current() }
    }

    /// Waits for the fetch of `key` that is under way, or asks `held` once more, or else books and starts one; refused
    /// where too many others are under way, where `book` refuses, and where one under way begins too late for `by`.
    ///
    /// `fetch` must store what it brings, through the fence of its ticket, before it ends: then `held`, asked while no other
    /// fetch can start or end, cannot miss it. Cancel safe: a caller that leaves neither stops nor restarts a fetch.
    pub(super) async fn join<F>(
        &self,
        key: Key,
        by: Instant,
        held: impl FnOnce() -> Option<Snapshot>,
        book: impl FnOnce() -> Result<Ticket, Failure>,
        fetch: impl FnOnce(Ticket) -> F,
    ) -> Landing
    where
        F: Future<Output = Landing> + Send + 'static,
    {
        let mut landing = match self.board(&key, held, book, 0)? {
            Boarding::Held(snapshot) => return Ok(snapshot),
            Boarding::Joined(flight) => flight.in_time(by)?,
            Boarding::Opened(seat, flight) => {
                self.launch(key, seat, &flight.ticket.fence, fetch(flight.ticket.clone()));
                flight.landing
            }
        };
        match landing.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(landing)) => landing.clone(),
            // The task panicked or the runtime is going down.
            _ => Err(Failure::Lost.into()),
        }
    }

    /// Starts a fetch unless one of `key` is under way, `book` refuses, or others take half of the room: the other half
    /// is for those whom somebody waits for; tells whether it did. Waits for nothing.
    pub(super) fn refresh<F>(
        &self,
        key: Key,
        book: impl FnOnce() -> Result<Ticket, Failure>,
        fetch: impl FnOnce(Ticket) -> F,
    ) -> bool
    where
        F: Future<Output = Landing> + Send + 'static,
    {
        let Ok(Boarding::Opened(seat, flight)) = self.board(&key, || None, book, self.most.div_ceil(2))
        else {
            return false;
        };
        self.launch(key, seat, &flight.ticket.fence, fetch(flight.ticket.clone()));
        true
    }

    /// Runs a task where the fetches run; it must be bounded in time.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.upstream.spawn(task);
    }

    #[cfg(test)]
    pub(super) fn locked(&self) -> impl Sized + '_ {
        self.under_way.lock().unwrap()
    }

    /// Closes the fence of the fetch of `key` that is under way, and takes it off the list, where whoever asks from now on
    /// would join it; who waits for it already is still answered. Tells whether there was one.
    pub(super) fn fence(&self, key: &Key) -> bool {
        let flight = self.under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
        flight.map(|flight| flight.ticket.fence.close()).is_some()
    }

    /// Returns true if and only if a fetch of `key` is under way.
    pub(super) fn has(&self, key: &Key) -> bool {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner).contains_key(key)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.under_way.lock().unwrap().len()
    }

    fn board(
        &self,
        key: &Key,
        held: impl FnOnce() -> Option<Snapshot>,
        book: impl FnOnce() -> Result<Ticket, Failure>,
        left: usize,
    ) -> Result<Boarding, Failed> {
        let mut flights = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = flights.get(key) {
            return Ok(Boarding::Joined(flight.clone()));
        }
        if let Some(snapshot) = held() {
            return Ok(Boarding::Held(snapshot));
        }
        let free = self.room.available_permits();
        let place = Arc::clone(&self.room).try_acquire_owned().ok().filter(|_| free > left);
        let place = place.ok_or(Failure::Overloaded)?;
        let ticket = book()?;
        let (sender, landing) = watch::channel(None);
        let flight = Flight { ticket, landing };
        flights.insert(key.clone(), flight.clone());
        Ok(Boarding::Opened(Seat { place, sender }, flight))
    }

    /// Not under the lock, which a runtime that is going down would take again by dropping the task at once.
    fn launch<F>(&self, key: Key, seat: Seat, fence: &Fence, fetch: F)
    where
        F: Future<Output = Landing> + Send + 'static,
    {
        let Seat { place, sender } = seat;
        let clearing = Clearing { flights: self.clone(), key, fence: fence.clone() };
        // Never joined: it is bounded by the time limits of its calls, and whoever waits sees it end or vanish.
        let flying = async move {
            let landed = fetch.await;
            // Before the news: a waiter who asks again must not find a fetch that is over.
            drop((clearing, place));
            sender.send_replace(Some(landed));
        };
        // In the trace of the call that caused it, though others may wait for it too.
        self.upstream.spawn(flying.in_current_span());
    }
}

impl Flight {
    /// Returns where to wait, unless the fetch begins so late that nothing comes of waiting until `by`.
    fn in_time(self, by: Instant) -> Result<watch::Receiver<Option<Landing>>, Failed> {
        let now = Instant::now();
        let departs = self.ticket.departs;
        if departs > now && departs >= by {
            return Err(Failure::OverBudget(departs - now).into());
        }
        Ok(self.landing)
    }
}

enum Boarding {
    Held(Snapshot),
    Joined(Flight),
    Opened(Seat, Flight),
}

/// What a fetch has of its own from beginning to end: its place in the room, and the word to those who wait.
struct Seat {
    place: OwnedSemaphorePermit,
    sender: watch::Sender<Option<Landing>>,
}

/// Takes a fetch off the list, however it ends.
struct Clearing {
    flights: Flights,
    key: Key,
    fence: Fence,
}

impl Drop for Clearing {
    fn drop(&mut self) {
        let mut flights = self.flights.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        // One that was fenced off is not on the list any more, but another may be.
        if flights.get(&self.key).is_some_and(|flight| flight.ticket.fence.is(&self.fence)) {
            flights.remove(&self.key);
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
        freshness::Moment,
        users::{
            snapshot::{Asked, Content},
            store::Topic,
        },
    };

    #[tokio::test]
    async fn every_waiter_shares_one_fetch() {
        let (flights, count, gate) =
            (Flights::new(MAX_FETCHES), Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let waiters =
            (0..1000).map(|_| flights.join(key(), later(), || None, now, |_| counted(&count, &gate)));
        let open = async {
            yield_now().await;
            gate.notify_one();
        };
        let (landings, ()) = tokio::join!(join_all(waiters), open);
        assert!(landings.iter().all(Result::is_ok));
        assert_eq!(count.load(Ordering::SeqCst), 1);
        assert!(flights.under_way.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_thousand_callers_that_leave_change_nothing() {
        let (flights, count, gate) =
            (Flights::new(MAX_FETCHES), Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        for _ in 0..1000 {
            let leaving = flights.join(key(), later(), || None, now, |_| counted(&count, &gate));
            tokio::select! {
                biased;
                _ = leaving => panic!("landed too early"),
                () = yield_now() => {}
            }
        }
        gate.notify_one();
        assert!(flights.join(key(), later(), || None, now, |_| counted(&count, &gate)).await.is_ok());
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn what_landed_meanwhile_is_not_fetched_again() {
        let flights = Flights::new(MAX_FETCHES);
        let landing = flights
            .join(key(), later(), || Some(snapshot()), now, |_| async { Err(Failure::Throttled.into()) })
            .await;
        assert!(landing.is_ok());
        assert!(flights.under_way.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_refresh_waits_for_nothing_and_is_joined() {
        let (flights, count, gate) =
            (Flights::new(MAX_FETCHES), Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        for _ in 0..3 {
            flights.refresh(key(), now, |_| counted(&count, &gate));
        }
        gate.notify_one();
        assert!(flights.join(key(), later(), || None, now, |_| counted(&count, &gate)).await.is_ok());
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn refreshes_leave_half_of_the_room() {
        let (flights, count, gate) =
            (Flights::new(MAX_FETCHES), Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        for n in 0..MAX_FETCHES {
            let key = Key { sub: format!("user-{n}").parse().unwrap(), ..key() };
            flights.refresh(key, now, |_| counted(&count, &gate));
        }
        assert_eq!(flights.under_way.lock().unwrap().len(), MAX_FETCHES / 2);
        let waited_for = flights.join(key(), later(), || None, now, |_| async { Ok(snapshot()) }).await;
        assert!(waited_for.is_ok());
    }

    #[tokio::test]
    async fn a_failure_is_shared_and_not_kept() {
        let flights = Flights::new(MAX_FETCHES);
        let fail =
            || flights.join(key(), later(), || None, now, |_| async { Err(Failure::Throttled.into()) });
        let (one, two) = tokio::join!(fail(), fail());
        assert_eq!([one.unwrap_err().failure, two.unwrap_err().failure], [Failure::Throttled; 2]);
        assert!(flights.join(key(), later(), || None, now, |_| async { Ok(snapshot()) }).await.is_ok());
    }

    #[tokio::test]
    async fn a_fetch_that_panics_is_lost_and_cleared() {
        let flights = Flights::new(MAX_FETCHES);
        let wait = || flights.join(key(), later(), || None, now, |_| async { panic!("a bug") });
        let (first, follower) = tokio::join!(wait(), wait());
        assert_eq!([first.unwrap_err().failure, follower.unwrap_err().failure], [Failure::Lost; 2]);
        assert!(flights.join(key(), later(), || None, now, |_| async { Ok(snapshot()) }).await.is_ok());
    }

    #[tokio::test]
    async fn too_many_fetches_at_once_are_refused_and_end() {
        let (flights, count, gate) =
            (Flights::new(MAX_FETCHES), Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let numbered = |n: usize| Key { sub: format!("user-{n}").parse().unwrap(), ..key() };
        let mut waiting: Vec<_> = (0..MAX_FETCHES)
            .map(|n| Box::pin(flights.join(numbered(n), later(), || None, now, |_| counted(&count, &gate))))
            .collect();
        for flight in &mut waiting {
            assert!(flight.now_or_never().is_none());
        }
        let refused = flights.join(numbered(MAX_FETCHES), later(), || None, now, |_| counted(&count, &gate));
        let refused = refused.now_or_never().expect("refused at once");
        assert_eq!(refused.unwrap_err().failure, Failure::Overloaded);
        let joined = flights.join(numbered(0), later(), || None, now, |_| counted(&count, &gate));
        let open = async {
            while count.load(Ordering::SeqCst) < MAX_FETCHES {
                yield_now().await;
            }
            gate.notify_waiters();
        };
        let (joined, all, ()) = tokio::join!(joined, join_all(waiting), open);
        assert!(joined.is_ok() && all.iter().all(Result::is_ok));
        assert!(flights.under_way.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn who_is_fenced_off_takes_room_until_the_end() {
        let (flights, count, gate) =
            (Flights::new(2), Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let join = || flights.join(key(), later(), || None, now, |_| counted(&count, &gate));
        let (mut first, mut second) = (Box::pin(join()), Box::pin(join()));
        assert!(first.as_mut().now_or_never().is_none() && flights.fence(&key()));
        assert!(second.as_mut().now_or_never().is_none() && flights.fence(&key()));
        let refused = join().now_or_never().expect("refused at once").unwrap_err();
        assert_eq!(refused.failure, Failure::Overloaded);
        yield_now().await;
        gate.notify_waiters();
        assert!(first.await.is_ok() && second.await.is_ok() && flights.room.available_permits() == 2);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_cannot_wait_for_the_beginning_is_refused_at_once() {
        let flights = Flights::new(MAX_FETCHES);
        let (begin, second) = (Instant::now(), Duration::from_secs(1));
        let fetch = |ticket: Ticket| async move {
            sleep_until(ticket.departs).await;
            Ok(snapshot())
        };
        let patient = flights.join(key(), begin + 2 * second, || None, || Ok(ticket(begin + second)), fetch);
        let mut patient = Box::pin(patient);
        assert!(patient.as_mut().now_or_never().is_none());
        let hasty = flights.join(key(), begin + second / 2, || None, || panic!("booked twice"), fetch);
        let refused = hasty.now_or_never().expect("refused at once").unwrap_err();
        assert_eq!(refused.failure, Failure::OverBudget(second));
        assert!(patient.await.is_ok());
        assert_eq!(Instant::now(), begin + second);
    }

    #[tokio::test]
    async fn what_is_not_booked_is_not_begun() {
        let flights = Flights::new(MAX_FETCHES);
        let spent = || Err(Failure::OverBudget(Duration::from_secs(1)));
        let begun = |_| async { panic!("begun") };
        let refused = flights.join(key(), later(), || None, spent, begun).await.unwrap_err();
        assert_eq!(refused.failure, Failure::OverBudget(Duration::from_secs(1)));
        flights.refresh(key(), spent, begun);
        assert!(flights.under_way.lock().unwrap().is_empty());
    }

    fn now() -> Result<Ticket, Failure> {
        Ok(ticket(Instant::now()))
    }

    fn ticket(departs: Instant) -> Ticket {
        Ticket { departs, fence: Fence::default() }
    }

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(3)
    }

    fn counted(count: &Arc<AtomicUsize>, gate: &Arc<Notify>) -> impl Future<Output = Landing> + Send + use<> {
        let (count, gate) = (Arc::clone(count), Arc::clone(gate));
        async move {
            count.fetch_add(1, Ordering::SeqCst);
            gate.notified().await;
            Ok(snapshot())
        }
    }

    fn snapshot() -> Snapshot {
        let content = Content::Absent(Asked::BySub);
        Snapshot { content, began: Moment::now(), failed: None, expired: false, pace: 100 }
    }

    const MAX_FETCHES: usize = 256;

    fn key() -> Key {
        Key { pool: "eu-west-1_A".parse().unwrap(), sub: "a".parse().unwrap(), topic: Topic::User }
    }
}
