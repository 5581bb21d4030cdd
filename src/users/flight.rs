//! At most one fetch per user at a time, in a task that no caller owns; every waiter shares its result.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{runtime::Handle, sync::watch};

use super::{
    Failure,
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

impl From<Failure> for Failed {
    fn from(failure: Failure) -> Self {
        Self { failure, asked: None }
    }
}

/// The fetches under way; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Flights {
    under_way: Arc<Mutex<HashMap<Key, watch::Receiver<Option<Landing>>>>>,
    upstream: Handle,
}

impl Flights {
    /// Begins with none; every fetch will run on the runtime `upstream`.
    pub(super) fn new(upstream: Handle) -> Self {
        Self { under_way: Arc::default(), upstream }
    }

    /// Waits for the fetch of `key` that is under way, or asks `held` once more, or else starts `fetch`; refused
    /// where 256 others are under way.
    ///
    /// `fetch` must store what it brings before it ends: then `held`, asked while no other fetch can start or end,
    /// cannot miss it. Cancel safe: a caller that leaves neither stops nor restarts a fetch.
    pub(super) async fn join<F>(
        &self,
        key: Key,
        held: impl FnOnce() -> Option<Snapshot>,
        fetch: impl FnOnce() -> F,
    ) -> Landing
    where
        F: Future<Output = Landing> + Send + 'static,
    {
        let mut landing = match self.board(&key, held, MAX_FETCHES)? {
            Boarding::Held(snapshot) => return Ok(snapshot),
            Boarding::Joined(landing) => landing,
            Boarding::Opened(sender, landing) => {
                self.launch(key, sender, fetch());
                landing
            }
        };
        match landing.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(landing)) => landing.clone(),
            // The task panicked or the runtime is going down.
            _ => Err(Failure::Lost.into()),
        }
    }

    /// Starts `fetch` unless one of `key` is under way or 128 others are, and waits for nothing: half of the room is for
    /// those whom somebody waits for.
    pub(super) fn refresh<F>(&self, key: Key, fetch: impl FnOnce() -> F)
    where
        F: Future<Output = Landing> + Send + 'static,
    {
        if let Ok(Boarding::Opened(sender, _)) = self.board(&key, || None, MAX_FETCHES / 2) {
            self.launch(key, sender, fetch());
        }
    }

    fn board(
        &self,
        key: &Key,
        held: impl FnOnce() -> Option<Snapshot>,
        most: usize,
    ) -> Result<Boarding, Failed> {
        let mut flights = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(landing) = flights.get(key) {
            return Ok(Boarding::Joined(landing.clone()));
        }
        if let Some(snapshot) = held() {
            return Ok(Boarding::Held(snapshot));
        }
        if flights.len() >= most {
            return Err(Failure::Overloaded.into());
        }
        let (sender, landing) = watch::channel(None);
        flights.insert(key.clone(), landing.clone());
        Ok(Boarding::Opened(sender, landing))
    }

    /// Not under the lock, which a runtime that is going down would take again by dropping the task at once.
    fn launch<F>(&self, key: Key, sender: watch::Sender<Option<Landing>>, fetch: F)
    where
        F: Future<Output = Landing> + Send + 'static,
    {
        let clearing = Clearing { flights: self.clone(), key };
        // Never joined: it is bounded by the time limits of its fetch, and whoever waits sees it end or vanish.
        self.upstream.spawn(async move {
            let landed = fetch.await;
            // Before the news: a waiter who asks again must not find a fetch that is over.
            drop(clearing);
            sender.send_replace(Some(landed));
        });
    }
}

enum Boarding {
    Held(Snapshot),
    Joined(watch::Receiver<Option<Landing>>),
    Opened(watch::Sender<Option<Landing>>, watch::Receiver<Option<Landing>>),
}

/// Takes a fetch off the list, however it ends.
struct Clearing {
    flights: Flights,
    key: Key,
}

impl Drop for Clearing {
    fn drop(&mut self) {
        self.flights.under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

// More than Cognito's default quota of 120 reads a second lets begin within the 2 s that a fetch may last.
const MAX_FETCHES: usize = 256;

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;
    use tokio::{sync::Notify, task::yield_now};

    use super::*;
    use crate::{
        freshness::Moment,
        users::snapshot::{Asked, Content},
    };

    #[tokio::test]
    async fn every_waiter_shares_one_fetch() {
        let (flights, count, gate) =
            (Flights::new(Handle::current()), Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let waiters = (0..1000).map(|_| flights.join(key(), || None, || counted(&count, &gate)));
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
            (Flights::new(Handle::current()), Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        for _ in 0..1000 {
            let leaving = flights.join(key(), || None, || counted(&count, &gate));
            tokio::select! {
                biased;
                _ = leaving => panic!("landed too early"),
                () = yield_now() => {}
            }
        }
        gate.notify_one();
        assert!(flights.join(key(), || None, || counted(&count, &gate)).await.is_ok());
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn what_landed_meanwhile_is_not_fetched_again() {
        let flights = Flights::new(Handle::current());
        let landing =
            flights.join(key(), || Some(snapshot()), || async { Err(Failure::Throttled.into()) }).await;
        assert!(landing.is_ok());
        assert!(flights.under_way.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_refresh_waits_for_nothing_and_is_joined() {
        let (flights, count, gate) =
            (Flights::new(Handle::current()), Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        for _ in 0..3 {
            flights.refresh(key(), || counted(&count, &gate));
        }
        gate.notify_one();
        assert!(flights.join(key(), || None, || counted(&count, &gate)).await.is_ok());
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn refreshes_leave_half_of_the_room() {
        let (flights, count, gate) =
            (Flights::new(Handle::current()), Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        for n in 0..MAX_FETCHES {
            let key = Key { sub: format!("user-{n}").parse().unwrap(), ..key() };
            flights.refresh(key, || counted(&count, &gate));
        }
        assert_eq!(flights.under_way.lock().unwrap().len(), MAX_FETCHES / 2);
        let waited_for = flights.join(key(), || None, || async { Ok(snapshot()) }).await;
        assert!(waited_for.is_ok());
    }

    #[tokio::test]
    async fn a_failure_is_shared_and_not_kept() {
        let flights = Flights::new(Handle::current());
        let fail = || flights.join(key(), || None, || async { Err(Failure::Throttled.into()) });
        let (one, two) = tokio::join!(fail(), fail());
        assert_eq!([one.unwrap_err().failure, two.unwrap_err().failure], [Failure::Throttled; 2]);
        assert!(flights.join(key(), || None, || async { Ok(snapshot()) }).await.is_ok());
    }

    #[tokio::test]
    async fn a_fetch_that_panics_is_lost_and_cleared() {
        let flights = Flights::new(Handle::current());
        let landing = flights.join(key(), || None, || async { panic!("a bug") }).await;
        assert_eq!(landing.unwrap_err().failure, Failure::Lost);
        assert!(flights.join(key(), || None, || async { Ok(snapshot()) }).await.is_ok());
    }

    #[tokio::test]
    async fn too_many_fetches_at_once_are_refused_and_end() {
        let (flights, count, gate) =
            (Flights::new(Handle::current()), Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let numbered = |n: usize| Key { sub: format!("user-{n}").parse().unwrap(), ..key() };
        let mut waiting: Vec<_> = (0..MAX_FETCHES)
            .map(|n| Box::pin(flights.join(numbered(n), || None, || counted(&count, &gate))))
            .collect();
        for flight in &mut waiting {
            assert!(futures_util::FutureExt::now_or_never(flight).is_none());
        }
        let refused = flights.join(numbered(MAX_FETCHES), || None, || counted(&count, &gate));
        let refused = futures_util::FutureExt::now_or_never(refused).expect("refused at once");
        assert_eq!(refused.unwrap_err().failure, Failure::Overloaded);
        let joined = flights.join(numbered(0), || None, || counted(&count, &gate));
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

    fn counted(count: &Arc<AtomicUsize>, gate: &Arc<Notify>) -> impl Future<Output = Landing> + Send + use<> {
        let (count, gate) = (Arc::clone(count), Arc::clone(gate));
        async move {
            count.fetch_add(1, Ordering::SeqCst);
            gate.notified().await;
            Ok(snapshot())
        }
    }

    fn snapshot() -> Snapshot {
        Snapshot { content: Content::Absent(Asked::BySub), began: Moment::now(), failed: None, pace: 100 }
    }

    fn key() -> Key {
        Key { pool: "eu-west-1_A".parse().unwrap(), sub: "a".parse().unwrap() }
    }
}
