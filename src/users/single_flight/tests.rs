//! Single flight: one fetch, shared by all.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use futures_util::{FutureExt as _, future::join_all};
use tokio::{sync::Notify, task::yield_now, time::sleep_until};

use super::*;
use crate::{
    clock::TimePoint,
    users::{
        cache::EntryKind,
        entry::{Content, LookupMethod},
    },
};

#[tokio::test]
async fn every_waiter_shares_one_fetch() {
    let (single_flight, count, gate) =
        (SingleFlight::new(MAX_FETCHES), Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let waiters = (0..1000)
        .map(|_| single_flight.join(key(), 0, later(), || None, no_wait, |_| counted(&count, &gate)));
    let open = async {
        yield_now().await;
        gate.notify_one();
    };
    let (results, ()) = tokio::join!(join_all(waiters), open);
    assert!(results.iter().all(Result::is_ok));
    assert_eq!(count.load(Ordering::SeqCst), 1);
    assert!(single_flight.len() == 0);
}

#[tokio::test]
async fn a_thousand_callers_that_cancel_change_nothing() {
    let (single_flight, count, gate) =
        (SingleFlight::new(MAX_FETCHES), Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    for _ in 0..1000 {
        let leaving = single_flight.join(key(), 0, later(), || None, no_wait, |_| counted(&count, &gate));
        tokio::select! {
            biased;
            _ = leaving => panic!("returned too early"),
            () = yield_now() => {}
        }
    }
    gate.notify_one();
    assert!(
        single_flight.join(key(), 0, later(), || None, no_wait, |_| counted(&count, &gate)).await.is_ok()
    );
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_entry_cached_meanwhile_is_not_fetched_again() {
    let single_flight = SingleFlight::new(MAX_FETCHES);
    let result = single_flight
        .join(key(), 0, later(), || Some(entry()), no_wait, |_| async { Err(Failure::Throttled.into()) })
        .await;
    assert!(result.is_ok());
    assert!(single_flight.len() == 0);
}

#[tokio::test]
async fn a_refresh_does_not_wait_and_is_joined() {
    let (single_flight, count, gate) =
        (SingleFlight::new(MAX_FETCHES), Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    for _ in 0..3 {
        single_flight.refresh(key(), |_| counted(&count, &gate));
    }
    gate.notify_one();
    assert!(
        single_flight.join(key(), 0, later(), || None, no_wait, |_| counted(&count, &gate)).await.is_ok()
    );
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn refreshes_use_at_most_half_of_the_permits() {
    let (single_flight, count, gate) =
        (SingleFlight::new(MAX_FETCHES), Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    for n in 0..MAX_FETCHES {
        let key = Key { sub: format!("user-{n}").parse().unwrap(), ..key() };
        single_flight.refresh(key, |_| counted(&count, &gate));
    }
    assert_eq!(single_flight.len(), MAX_FETCHES / 2);
    let waited_for =
        single_flight.join(key(), 0, later(), || None, no_wait, |_| async { Ok(fetched()) }).await;
    assert!(waited_for.is_ok());
}

#[tokio::test]
async fn a_failure_is_shared_and_not_cached() {
    let single_flight = SingleFlight::new(MAX_FETCHES);
    let fail = || {
        single_flight.join(key(), 0, later(), || None, no_wait, |_| async { Err(Failure::Throttled.into()) })
    };
    let (one, two) = tokio::join!(fail(), fail());
    assert_eq!([one.unwrap_err().failure, two.unwrap_err().failure], [Failure::Throttled; 2]);
    assert!(
        single_flight.join(key(), 0, later(), || None, no_wait, |_| async { Ok(fetched()) }).await.is_ok()
    );
}

#[tokio::test]
async fn a_fetch_that_panics_fails_its_waiters_and_is_removed() {
    let single_flight = SingleFlight::new(MAX_FETCHES);
    let wait = || single_flight.join(key(), 0, later(), || None, no_wait, |_| async { panic!("a bug") });
    let (first, follower) = tokio::join!(wait(), wait());
    assert_eq!([first.unwrap_err().failure, follower.unwrap_err().failure], [Failure::Internal; 2]);
    assert!(
        single_flight.join(key(), 0, later(), || None, no_wait, |_| async { Ok(fetched()) }).await.is_ok()
    );
}

#[tokio::test]
async fn too_many_fetches_at_once_are_refused_and_end() {
    let (single_flight, count, gate) =
        (SingleFlight::new(MAX_FETCHES), Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let numbered = |n: usize| Key { sub: format!("user-{n}").parse().unwrap(), ..key() };
    let join = |caller, n| {
        let (count, gate) = (Arc::clone(&count), Arc::clone(&gate));
        let (single_flight, key) = (single_flight.clone(), numbered(n));
        Box::pin(async move {
            single_flight.join(key, caller, later(), || None, no_wait, |_| counted(&count, &gate)).await
        })
    };
    let (mut waiting, mut started) = (Vec::new(), Vec::new());
    for caller in 0..3 {
        started.push(0);
        loop {
            let mut joining = join(caller, waiting.len());
            match joining.as_mut().now_or_never() {
                None => waiting.push(joining),
                Some(refused) => break assert_eq!(refused.unwrap_err().failure, Failure::Overloaded),
            }
            started[caller] += 1;
        }
    }
    assert_eq!(started, [MAX_FETCHES / 2, MAX_FETCHES / 4, MAX_FETCHES / 8], "each caller half of the rest");
    let joined = join(0, 0);
    let all = started.iter().sum::<usize>();
    assert_eq!(all, waiting.len());
    let open = async {
        while count.load(Ordering::SeqCst) < all {
            yield_now().await;
        }
        gate.notify_waiters();
    };
    let (joined, (), results) = tokio::join!(joined, open, join_all(waiting));
    assert!(joined.is_ok() && results.iter().all(Result::is_ok));
    assert!(single_flight.len() == 0 && single_flight.locked_total() == 0);
}

#[tokio::test]
async fn a_detached_fetch_holds_its_permit_until_it_ends() {
    let (single_flight, count, gate) =
        (SingleFlight::new(4), Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let join = || single_flight.join(key(), 0, later(), || None, no_wait, |_| counted(&count, &gate));
    let (mut first, mut second) = (Box::pin(join()), Box::pin(join()));
    assert!(first.as_mut().now_or_never().is_none() && single_flight.detach(&key()));
    assert!(second.as_mut().now_or_never().is_none() && single_flight.detach(&key()));
    let refused = join().now_or_never().expect("refused at once").unwrap_err();
    assert_eq!(refused.failure, Failure::Overloaded);
    yield_now().await;
    gate.notify_waiters();
    assert!(first.await.is_ok() && second.await.is_ok() && single_flight.locked_total() == 0);
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_begins_too_late_is_refused_at_once_or_when_too_little_time_is_left() {
    let single_flight = SingleFlight::new(MAX_FETCHES);
    let (begin, second) = (Instant::now(), Duration::from_secs(1));
    let fetch = move |reporter: Reporter| async move {
        reporter.queued();
        sleep_until(begin + second).await;
        Ok(fetched())
    };
    let second_fetch = |_| async { panic!("fetched twice") };
    let expected_at = |_| Some(begin + second);
    let patient = single_flight.join(key(), 0, begin + 2 * second, || None, expected_at, fetch);
    let mut patient = Box::pin(patient);
    assert!(patient.as_mut().now_or_never().is_none());
    let hasty = single_flight.join(key(), 0, begin + second / 2, || None, expected_at, second_fetch);
    let refused = hasty.now_or_never().expect("refused at once").unwrap_err();
    assert_eq!(refused.failure, Failure::BudgetExhausted(second));
    // Others come before it meanwhile.
    let expected_at = |_| Some(begin + second * if begin.elapsed() < second / 4 { 0 } else { 1 });
    let pushed_back = single_flight.join(key(), 0, begin + second / 2, || None, expected_at, second_fetch);
    assert_eq!(pushed_back.await.unwrap_err().failure, Failure::BudgetExhausted(second * 11 / 20));
    assert_eq!(begin.elapsed(), second * 9 / 20);
    assert!(patient.await.is_ok());
    assert_eq!(begin.elapsed(), second);
}

#[tokio::test]
async fn a_fetch_refused_at_once_ends_before_its_caller_waits() {
    let single_flight = SingleFlight::new(MAX_FETCHES);
    let refuse = |_| async { Err(Failure::BudgetExhausted(Duration::from_secs(1)).into()) };
    let refused = single_flight.join(key(), 0, later(), || None, no_wait, refuse);
    let refused = refused.now_or_never().expect("refused at once").unwrap_err();
    assert_eq!(refused.failure, Failure::BudgetExhausted(Duration::from_secs(1)));
    assert!(!single_flight.refresh(key(), refuse), "a refresh that is refused is none");
    assert_eq!(single_flight.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_waiter_does_not_take_a_refusal_by_its_leaders_limits_for_its_own() {
    let hour = Duration::from_secs(3600);
    for refusal in
        [Failure::BudgetExhausted(Duration::from_secs(1)), Failure::BudgetExhausted(hour), Failure::Throttled]
    {
        let (single_flight, gate) = (SingleFlight::new(MAX_FETCHES), Arc::new(Notify::new()));
        let opened = Arc::clone(&gate);
        let refuse = |_| async move {
            opened.notified().await;
            Err(refusal.into())
        };
        assert!(single_flight.refresh(key(), refuse), "it is not refused at once");
        let waiter = single_flight.join(key(), 0, later(), || None, no_wait, |_| async { Ok(fetched()) });
        let open = async {
            yield_now().await;
            gate.notify_one();
        };
        let (waiter, ()) = tokio::join!(waiter, open);
        assert!(waiter.is_ok(), "{refusal:?}");
    }
}

#[tokio::test]
async fn a_fetch_that_panics_before_its_first_step_is_removed_too() {
    let single_flight = SingleFlight::new(MAX_FETCHES);
    let broken = |_| -> std::future::Ready<FetchResult> { panic!("a bug") };
    let joining =
        AssertUnwindSafe(single_flight.join(key(), 0, later(), || None, no_wait, broken)).catch_unwind();
    assert!(joining.await.is_err());
    assert_eq!(single_flight.len(), 0);
}

/// As of a fetch that waits for no call.
fn no_wait(_: FetchId) -> Option<Instant> {
    None
}

fn later() -> Instant {
    Instant::now() + Duration::from_secs(3)
}

fn counted(count: &Arc<AtomicUsize>, gate: &Arc<Notify>) -> impl Future<Output = FetchResult> + Send + use<> {
    let (count, gate) = (Arc::clone(count), Arc::clone(gate));
    async move {
        count.fetch_add(1, Ordering::SeqCst);
        gate.notified().await;
        Ok(fetched())
    }
}

fn fetched() -> Fetched {
    Fetched::from_origin(entry())
}

fn entry() -> CacheEntry {
    let content = Content::Absent(LookupMethod::BySub);
    CacheEntry::new(content, TimePoint::now())
}

const MAX_FETCHES: usize = 256;

fn key() -> Key {
    Key { pool: "eu-west-1_A".parse().unwrap(), sub: "a".parse().unwrap(), kind: EntryKind::Profile }
}
