//! Floods of misses, and callers that retry.

use futures_util::{FutureExt as _, future::join_all};
use tokio::{task::JoinSet, time::sleep};

use super::{
    super::{cognito::fixtures::Reply, *},
    lab::{Lab, NEAR},
};

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
