//! Thundering herds, floods of misses, and callers that retry.

use futures_util::{FutureExt as _, future::join_all};
use tokio::{task::JoinSet, time::sleep};

use super::{
    super::{cognito::fixtures::Reply, *},
    lab::{Lab, NEAR},
};
use crate::pool::BareSubLookup;

#[tokio::test(start_paused = true)]
async fn of_100_000_cold_users_the_rate_limit_is_fetched_and_the_rest_is_refused_at_once() {
    let lab = Lab::start(|_, _| {});
    lab.ask("ada").await.unwrap();
    sleep(Duration::from_secs(2)).await;
    let begun = Instant::now();
    let mut waiting = Vec::new();
    let mut refused = 0;
    for n in 0..100_000 {
        let mut asking = lab.ask_owned(format!("user-{n}")).boxed();
        match asking.as_mut().now_or_never() {
            None => waiting.push(asking),
            Some(Err(Failure::BudgetExhausted(wait))) => {
                assert!(wait > Duration::ZERO && wait <= Duration::from_secs(4), "{wait:?}");
                refused += 1;
            }
            Some(other) => panic!("{other:?}"),
        }
        if n % 100 == 0 {
            assert!(lab.ask("ada").now_or_never().expect("a hit is served meanwhile").is_ok());
        }
    }
    assert_eq!(begun.elapsed(), Duration::ZERO, "a refusal does not wait");
    // The queue is bounded by what can start in 2.9 s, at 96 in the time of a window and a call.
    assert!((250..=280).contains(&waiting.len()), "{}", waiting.len());
    assert_eq!(waiting.len() + refused, 100_000);
    assert!(join_all(waiting).await.iter().all(Result::is_ok));
    assert!(begun.elapsed() <= Duration::from_secs(3));
    lab.assert_within(96);
}

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
    let cognito = &lab.users.0.cognito[&lab.pool.id];
    let (_flights, _state) = (lab.users.0.single_flight.locked(), cognito.limiter().locked());
    let (sender, hit) = std::sync::mpsc::channel();
    let asking = Arc::clone(&lab);
    std::thread::spawn(move || sender.send(asking.ask("ada").now_or_never().is_some_and(|hit| hit.is_ok())));
    assert_eq!(hit.recv_timeout(Duration::from_secs(30)), Ok(true));
}

/// A federated user takes two calls, and both count towards the caller's limit.
#[tokio::test(start_paused = true)]
async fn every_call_of_a_fetch_counts_towards_the_callers_limit() {
    let lab = Lab::of(BareSubLookup::AdminGetUserThenListUsers, |_, _| {});
    lab.respond(|request| match request.operation.as_str() {
        "AdminGetUser" => (NEAR, Lab::error("UserNotFoundException")),
        _ => Lab::found(request),
    });
    let limited = account(0, Some(1));
    let second = Duration::from_secs(1);
    lab.ask_with("ada", FreshnessRequirement::Any, limited, 3 * second).await.unwrap();
    assert_eq!((lab.calls(), lab.operations().last().unwrap().as_str()), (2, "ListUsers"));
    let refused = lab.ask_with("bob", FreshnessRequirement::Any, limited, second * 3 / 2).await.unwrap_err();
    assert_eq!(refused, Failure::BudgetExhausted(Duration::from_millis(2 * 1010) - NEAR));
    assert!(
        lab.ask_with("bob", FreshnessRequirement::Any, account(1, None), second).await.is_ok(),
        "other callers do not wait"
    );
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
        let _state = owner.users.0.cognito[&owner.pool.id].limiter().locked();
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

/// As after a restart of every replica at once.
#[tokio::test(start_paused = true)]
async fn from_a_cold_start_the_rate_limit_holds_and_most_requests_soon_hit() {
    // A quarter of 10,000 users, 1,000 requests and 96 calls a second.
    const PEOPLE: f64 = 2500.0;
    const A_SECOND: usize = 250;
    let lab = Arc::new(Lab::start(|_, budget| budget.user_reads_per_second = Some(24)));
    let (begun, mut hits, mut warm) = (Instant::now(), Vec::new(), None);
    let mut asked = JoinSet::new();
    for second in 1..=120 {
        hits.push(0);
        for _ in 0..A_SECOND {
            // Log-uniform, so the probability of a rank is inversely proportional to it: Zipf with
            // exponent 1.
            let rank = PEOPLE.powf(fastrand::f64()) as usize;
            let (lab, sub) = (Arc::clone(&lab), format!("user-{rank}"));
            let mut asking = async move { lab.ask(&sub).await.map(|found| found.freshness()) }.boxed();
            match asking.as_mut().now_or_never() {
                Some(Ok(hit)) => {
                    assert!(matches!(hit.stale_reason, None | Some(StaleReason::BudgetExhausted)));
                    hits[second - 1] += 1;
                }
                Some(Err(failure)) => assert!(matches!(failure, Failure::BudgetExhausted(_)), "{failure:?}"),
                None => drop(asked.spawn(asking)),
            }
            sleep(Duration::from_millis(4)).await;
        }
        let is_warm = hits[second - 1] >= A_SECOND * 9 / 10;
        warm = warm.or_else(|| is_warm.then(|| begun.elapsed()));
    }
    let late = asked.join_all().await.iter().filter(|answer| answer.is_err()).count();
    assert!(late * 100 <= lab.calls(), "{late} requests wait in vain");
    lab.assert_within(24);
    let (warm, calls) = (warm.expect("nine of ten are hits in the end"), lab.calls());
    println!(
        "30,000 requests for 2,500 users from cold: {calls} calls; nine of ten were hits after {warm:?}"
    );
    assert!(warm <= Duration::from_secs(65), "{warm:?}");
    assert!(calls <= 3000, "{calls} calls: less than nine of ten were saved");
}

#[tokio::test(start_paused = true)]
async fn ten_times_the_rate_limit_is_shed_and_recovery_is_immediate() {
    let lab = Arc::new(Lab::start(|_, _| {}));
    let ask = |n: usize| {
        let lab = Arc::clone(&lab);
        async move {
            let asked = Instant::now();
            (lab.ask(&format!("user-{n}")).await.is_ok(), asked.elapsed())
        }
    };
    let mut overload = JoinSet::new();
    for n in 0..60_000 {
        overload.spawn(ask(n));
        sleep(Duration::from_millis(1)).await;
    }
    sleep(Duration::from_secs(3)).await;
    for n in 0..500 {
        assert!(ask(100_000 + n).await.0, "3 s later every request is answered");
    }
    let answered = overload.join_all().await.into_iter().filter(|(is_ok, _)| *is_ok);
    let times: Vec<_> = answered.map(|(_, time)| time).collect();
    // 60 s of load, and the queue at its end.
    assert!((5184..=63 * 96).contains(&times.len()), "{} answered", times.len());
    // A queued request does not wait beyond its deadline.
    assert!(times.iter().all(|time| *time <= Duration::from_secs(3)));
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

#[tokio::test(start_paused = true)]
async fn lookups_of_random_subs_evict_no_cached_user() {
    let lab = Lab::start(|cache, budget| {
        cache.max_bytes = 1 << 20;
        cache.max_absent_bytes = 1 << 16;
        budget.user_reads_per_second = Some(100_000);
    });
    for n in 0..500 {
        lab.ask(&format!("known-{n}")).await.unwrap();
    }
    lab.respond(|_| (Duration::ZERO, Lab::error("UserNotFoundException")));
    let before = lab.calls();
    for n in 0..5000 {
        assert_eq!(lab.ask(&format!("random-{n}")).await.unwrap_err(), Failure::NoSuchUser);
    }
    assert_eq!(lab.calls() - before, 5000);
    let hits =
        (0..500).filter(|n| lab.ask(&format!("known-{n}")).now_or_never().is_some_and(|found| found.is_ok()));
    assert!(hits.count() >= 495, "a point at most");
    assert!(lab.users.0.cache.absent_bytes() <= 1 << 16);
}

#[tokio::test(start_paused = true)]
async fn one_user_is_fetched_at_most_ten_times_a_second() {
    let lab = Lab::start(|_, _| {});
    let insisting = async |lab: &Lab| {
        for _ in 0..1000 {
            let now = FreshnessRequirement::FetchedSince(BootTime::now());
            drop(lab.ask_with("ada", now, account(0, None), Duration::from_millis(500)).await);
            sleep(Duration::from_millis(10)).await;
        }
    };
    insisting(&lab).await;
    assert!(lab.calls() > 50, "{} calls", lab.calls());
    lab.assert_within(10);
    // Also when each response is another user, and so never cached.
    let lab = Lab::start(|_, _| {});
    lab.respond(|_| (NEAR, Lab::found_as("ada", "somebody-else")));
    for _ in 0..1000 {
        assert!(lab.ask("ada").await.is_err());
        sleep(Duration::from_millis(10)).await;
    }
    lab.assert_within(10);
}

#[tokio::test(start_paused = true)]
async fn a_greedy_caller_spends_only_its_own_limit() {
    let lab = Lab::start(|_, _| {});
    let greedy = account(1, Some(20));
    let (mut well, mut refused) = (0, 0);
    for n in 0..2000 {
        for m in 0..9 {
            let sub = format!("random-{n}-{m}");
            let answer = lab.ask_with(&sub, FreshnessRequirement::Any, greedy, Duration::ZERO).now_or_never();
            refused += usize::from(matches!(answer, Some(Err(Failure::BudgetExhausted(_)))));
        }
        well += usize::from(lab.ask(&format!("other-{n}")).await.is_ok());
        sleep(Duration::from_millis(15)).await;
    }
    assert_eq!(well, 2000, "the other callers are answered");
    assert!(refused > 16_000, "{refused}");
}

#[tokio::test(start_paused = true)]
async fn clients_that_retry_at_once_add_no_calls() {
    let lab = Lab::start(|_, _| {});
    lab.respond(|_| (NEAR, Reply::Answer(500, r#"{"__type":"InternalErrorException"}"#.into())));
    for n in 0..1000 {
        for _ in 0..4 {
            assert!(
                lab.ask_with(
                    &format!("user-{n}"),
                    FreshnessRequirement::Any,
                    account(0, None),
                    Duration::ZERO
                )
                .await
                .is_err()
            );
        }
    }
    lab.assert_within(96);
}

#[tokio::test(start_paused = true)]
async fn refreshes_leave_half_of_the_rate_limit_to_waiting_requests() {
    let lab = Lab::start(|_, budget| budget.user_reads_per_second = Some(40));
    for n in 0..200 {
        lab.ask(&format!("known-{n}")).await.unwrap();
        sleep(Duration::from_millis(30)).await;
    }
    sleep(Duration::from_secs(28)).await;
    // All are past half of their TTL, so one hit each would refresh them all.
    for n in 0..200 {
        assert!(lab.ask(&format!("known-{n}")).now_or_never().expect("a hit").is_ok());
    }
    for n in 0..5 {
        let answer = lab
            .ask_with(&format!("new-{n}"), FreshnessRequirement::Any, account(0, None), Duration::ZERO)
            .await;
        assert!(answer.is_ok(), "a call starts at once: {n}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_with_all_its_fetches_in_flight_is_refused_at_once_and_cached_users_are_served() {
    let lab = Lab::start(|_, budget| budget.user_reads_per_second = Some(10_000));
    lab.ask("ada").await.unwrap();
    sleep(Duration::from_secs(70)).await;
    lab.respond(|_| (NEAR, Reply::Nothing));
    let mut waiting: Vec<_> =
        (0..MAX_FETCHES / 2).map(|n| lab.ask_owned(format!("user-{n}")).boxed()).collect();
    for stranger in &mut waiting {
        assert!(stranger.now_or_never().is_none());
    }
    let refused = lab.ask("one-more").now_or_never().expect("at once");
    assert_eq!(refused.unwrap_err(), Failure::Overloaded);
    let held = lab.ask("ada").now_or_never().expect("at once").unwrap();
    assert_eq!(held.freshness().stale_reason, Some(StaleReason::BudgetExhausted));
    drop(join_all(waiting).await);
    lab.respond(Lab::found);
    // The circuit breaker is open for a second.
    sleep(Duration::from_secs(1)).await;
    assert!(lab.ask("one-more").await.is_ok(), "it may fetch again");
}
