//! At most one fetch per user at a time, in a task that no caller owns; every waiter shares its result.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::watch;

use super::{Failure, snapshot::Snapshot, store::Key};

/// What a fetch brought, or why it brought nothing; a failure is shared by its waiters and never stored.
pub(super) type Landing = Result<Snapshot, Failure>;

/// The fetches under way; cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Flights(Arc<Mutex<HashMap<Key, watch::Receiver<Option<Landing>>>>>);

impl Flights {
    /// Waits for the fetch of `key` that is under way, or asks `held` once more, or else starts `fetch`.
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
        let mut landing = {
            let mut flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            match flights.get(&key) {
                Some(landing) => landing.clone(),
                None => {
                    if let Some(snapshot) = held() {
                        return Ok(snapshot);
                    }
                    let landing = self.launch(key.clone(), fetch());
                    flights.insert(key, landing.clone());
                    landing
                }
            }
        };
        match landing.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(landing)) => landing.clone(),
            // The task panicked or the runtime is going down.
            _ => Err(Failure::Lost),
        }
    }

    fn launch<F>(&self, key: Key, fetch: F) -> watch::Receiver<Option<Landing>>
    where
        F: Future<Output = Landing> + Send + 'static,
    {
        let (sender, landing) = watch::channel(None);
        let clearing = Clearing { flights: self.clone(), key };
        // Never joined: it is bounded by the time limits of its fetch, and whoever waits sees it end or vanish.
        #[expect(clippy::disallowed_methods, reason = "this is the owner of the fetches")]
        tokio::spawn(async move {
            let landed = fetch.await;
            // Before the news: a waiter who asks again must not find a fetch that is over.
            drop(clearing);
            sender.send_replace(Some(landed));
        });
        landing
    }
}

/// Takes a fetch off the list, however it ends.
struct Clearing {
    flights: Flights,
    key: Key,
}

impl Drop for Clearing {
    fn drop(&mut self) {
        self.flights.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

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
            (Flights::default(), Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let waiters = (0..1000).map(|_| flights.join(key(), || None, || counted(&count, &gate)));
        let open = async {
            yield_now().await;
            gate.notify_one();
        };
        let (landings, ()) = tokio::join!(join_all(waiters), open);
        assert!(landings.iter().all(Result::is_ok));
        assert_eq!(count.load(Ordering::SeqCst), 1);
        assert!(flights.0.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_thousand_callers_that_leave_change_nothing() {
        let (flights, count, gate) =
            (Flights::default(), Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
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
        let flights = Flights::default();
        let landing = flights.join(key(), || Some(snapshot()), || async { Err(Failure::Throttled) }).await;
        assert!(landing.is_ok());
        assert!(flights.0.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_failure_is_shared_and_not_kept() {
        let flights = Flights::default();
        let fail = || flights.join(key(), || None, || async { Err(Failure::Throttled) });
        let (one, two) = tokio::join!(fail(), fail());
        assert_eq!([one.unwrap_err(), two.unwrap_err()], [Failure::Throttled; 2]);
        assert!(flights.join(key(), || None, || async { Ok(snapshot()) }).await.is_ok());
    }

    #[tokio::test]
    async fn a_fetch_that_panics_is_lost_and_cleared() {
        let flights = Flights::default();
        let landing = flights.join(key(), || None, || async { panic!("a bug") }).await;
        assert_eq!(landing.unwrap_err(), Failure::Lost);
        assert!(flights.join(key(), || None, || async { Ok(snapshot()) }).await.is_ok());
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
        Snapshot { content: Content::Absent(Asked::BySub), began: Moment::now() }
    }

    fn key() -> Key {
        Key { pool: "eu-west-1_A".parse().unwrap(), sub: "a".parse().unwrap() }
    }
}
