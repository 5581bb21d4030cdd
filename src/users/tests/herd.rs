//! Many requests at once, for one user and for hot ones.

use futures_util::{FutureExt as _, future::join_all};
use tokio::{task::JoinSet, time::sleep};

use super::{
    super::*,
    lab::{Lab, NEAR},
};

/// On several threads, so that the requests race.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ten_thousand_requests_for_one_cold_user_make_one_call_in_each_of_100_rounds() {
    let lab = Arc::new(Lab::start(|_, _| {}));
    for round in 1..=100 {
        let mut herd = JoinSet::new();
        for _ in 0..10_000 {
            let (lab, sub) = (Arc::clone(&lab), format!("user-{round}"));
            herd.spawn(async move { lab.ask(&sub).await.is_ok() });
        }
        assert!(herd.join_all().await.into_iter().all(|is_ok| is_ok));
        assert_eq!(lab.calls(), round);
    }
}

#[tokio::test(start_paused = true)]
async fn refreshing_a_hot_user_delays_no_request_and_makes_one_call() {
    let lab = Lab::start(|_, _| {});
    lab.ask("hot").await.unwrap();
    sleep(Duration::from_secs(34)).await;
    lab.respond(|request| (Duration::from_millis(900), Lab::found(request).1));
    for _ in 0..50_000 {
        let found = lab.ask("hot").now_or_never().expect("no request waits").unwrap();
        assert_eq!((found.freshness().source, found.freshness().stale_reason), (Source::Cache, None));
        if fastrand::u8(0..100) == 0 {
            sleep(Duration::from_millis(1)).await;
        }
    }
    sleep(Duration::from_secs(1)).await;
    assert!(lab.ask("hot").await.unwrap().freshness().age < Duration::from_secs(3));
    assert_eq!(lab.calls(), 2);
}

/// A hit shares no lock with refused misses, so that no number of them can delay it.
#[tokio::test]
async fn a_hit_waits_for_no_miss() {
    let lab = Arc::new(Lab::start(|_, _| {}));
    lab.ask("ada").await.unwrap();
    let cognito = lab.users.cognito(&lab.pool.id).unwrap();
    let (_flights, _state) = (lab.users.0.single_flight.locked(), cognito.limiter().locked());
    let (sender, hit) = std::sync::mpsc::channel();
    let asking = Arc::clone(&lab);
    std::thread::spawn(move || sender.send(asking.ask("ada").now_or_never().is_some_and(|hit| hit.is_ok())));
    assert_eq!(hit.recv_timeout(Duration::from_secs(30)), Ok(true));
}

/// Slow or waiting maintenance blocks nothing else in the runtime that calls Cognito.
#[tokio::test]
async fn maintenance_blocks_no_fetch() {
    let lab = Arc::new(Lab::start(|_, _| {}));
    lab.ask("ada").await.unwrap();
    let (locked, is_locked) = std::sync::mpsc::channel();
    let (unlock, unlocking) = std::sync::mpsc::channel::<()>();
    let owner = Arc::clone(&lab);
    let holding = std::thread::spawn(move || {
        let cognito = owner.users.cognito(&owner.pool.id).unwrap();
        let _state = cognito.limiter().locked();
        locked.send(()).unwrap();
        // Holds the lock until the end of the test; the timeout ends a failed test.
        assert_eq!(unlocking.recv_timeout(Duration::from_secs(30)), Ok(()), "maintenance blocks the test");
    });
    is_locked.recv().unwrap();
    #[expect(clippy::disallowed_methods, reason = "aborted below")]
    let maintaining =
        tokio::spawn(maintain(Arc::downgrade(&lab.users.0), MAINTENANCE_INTERVAL, Inner::maintain));
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    unlock.send(()).unwrap();
    holding.join().expect("maintenance waits on a thread of its own");
    maintaining.abort();
}

#[tokio::test(start_paused = true)]
async fn of_500_concurrent_requests_none_gets_another_user() {
    let lab = Lab::start(|_, budget| budget.user_reads_per_second = Some(10_000));
    lab.respond(|request| {
        let lie = Lab::found_as("x", &format!("user-{}", fastrand::u16(..500)));
        let truth = Lab::found(request).1;
        (NEAR.mul_f64(fastrand::f64()), if fastrand::u8(..10) == 0 { lie } else { truth })
    });
    for _ in 0..3 {
        let answers = join_all((0..500).map(|n| lab.ask_owned(format!("user-{n}")))).await;
        for (n, answer) in answers.iter().enumerate() {
            match answer {
                Ok(found) => assert_eq!(found.user().sub.as_str(), format!("user-{n}")),
                Err(failure) => assert_eq!(*failure, Failure::NoSuchUser),
            }
        }
        sleep(Duration::from_secs(31)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_cancelled_requests_cost_a_waiting_one_nothing() {
    let lab = Lab::start(|_, _| {});
    lab.respond(|request| (Duration::from_millis(900), Lab::found(request).1));
    let patient = lab.ask("ada");
    let leaving = async {
        for n in 0..1000 {
            assert!(lab.ask("ada").now_or_never().is_none(), "it leaves before the answer");
            sleep(Duration::from_millis(n % 2)).await;
        }
    };
    let (patient, ()) = tokio::join!(patient, leaving);
    assert!(patient.is_ok());
    assert_eq!(lab.calls(), 1);
}
