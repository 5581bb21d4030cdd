//! Cognito throttles, fails, hangs, is slow or is gone.

use futures_util::{FutureExt as _, future::join_all};
use tokio::time::{advance, sleep, timeout_at};

use super::{
    super::{cognito::fixtures::Reply, *},
    lab::{Lab, NEAR},
};
use crate::pool::BareSubLookup;

#[tokio::test(start_paused = true)]
async fn when_throttled_cached_users_are_served_misses_refused_at_once_and_recovery_follows() {
    let lab = Lab::start(|cache, _| cache.fresh_for = Duration::from_secs(20));
    for n in 0..50 {
        lab.ask(&format!("known-{n}")).await.unwrap();
    }
    let normal = lab.calls();
    sleep(Duration::from_secs(23)).await;
    lab.respond(|_| (NEAR, Lab::error("TooManyRequestsException")));
    let (mut unknown, mut stale) = (0, 0);
    for second in 0..60 {
        let began = Instant::now();
        for n in 0..50 {
            let found = lab.ask(&format!("known-{n}")).await.unwrap();
            stale += usize::from(found.freshness().stale_reason == Some(StaleReason::UpstreamThrottled));
            let strangers = (0..4).map(|m| format!("unknown-{second}-{n}-{m}"));
            for sub in strangers {
                let asked = Instant::now();
                assert_eq!(lab.ask(&sub).await.unwrap_err(), Failure::Throttled);
                assert!(asked.elapsed() < Duration::from_millis(100), "{:?}", asked.elapsed());
                unknown += 1;
            }
        }
        advance(Duration::from_secs(1).saturating_sub(began.elapsed())).await;
    }
    assert_eq!((unknown, stale), (12_000, 3000));
    // The rate limit alone would allow 96 a second.
    assert!(lab.calls() - normal <= 60 * 96 * 11 / 20, "{} calls", lab.calls() - normal);

    lab.respond(Lab::found);
    let healed = Instant::now();
    sleep(Duration::from_secs(4)).await;
    let all = join_all((0..96).map(|n| lab.ask_owned(format!("new-{n}")))).await;
    assert!(all.iter().all(Result::is_ok) && healed.elapsed() <= Duration::from_secs(5));
    sleep(Duration::from_secs(1)).await;
    for n in 0..50 {
        assert_eq!(lab.ask(&format!("known-{n}")).await.unwrap().freshness().stale_reason, None);
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn at_most_a_tenth_of_the_calls_are_retries() {
    for percent in [10, 50, 100] {
        let lab = Lab::start(|_, _| {});
        lab.respond(move |request| match fastrand::u8(0..100) < percent {
            true => (NEAR, Reply::Answer(500, r#"{"__type":"InternalErrorException"}"#.into())),
            false => Lab::found(request),
        });
        let (mut misses, mut well) = (0, 0);
        for n in 0..1000 {
            misses += 1;
            well += usize::from(lab.ask(&format!("user-{n}")).await.is_ok());
            sleep(Duration::from_millis(15)).await;
        }
        // The retry budget starts with ten.
        assert!(lab.calls() <= misses * 11 / 10 + 10, "{percent} %: {} calls", lab.calls());
        assert!(well >= misses * (100 - usize::from(percent)) / 100, "{percent} %: {well} answered");
    }
}

#[tokio::test(start_paused = true)]
async fn with_one_failure_in_ten_cached_users_are_served() {
    let lab = Lab::start(|cache, _| cache.fresh_for = Duration::from_secs(2));
    for n in 0..20 {
        lab.ask(&format!("user-{n}")).await.unwrap();
    }
    lab.respond(|request| match fastrand::u8(0..10) {
        0 => (NEAR, Reply::Answer(500, r#"{"__type":"InternalErrorException"}"#.into())),
        _ => Lab::found(request),
    });
    for n in 0..4000 {
        assert!(lab.ask(&format!("user-{}", n % 20)).await.is_ok());
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_over_one_users_answer_fails_no_other_user() {
    let lab = Lab::start(|_, _| {});
    lab.respond(|request| match request.input["Username"].as_str() {
        Some("user-7") => (NEAR, Reply::Panic),
        _ => Lab::found(request),
    });
    let answers = join_all((0..90).map(|n| lab.ask_owned(format!("user-{n}")))).await;
    for (n, answer) in answers.into_iter().enumerate() {
        assert_eq!(answer.err(), (n == 7).then_some(Failure::Internal), "user-{n}");
    }
    lab.respond(Lab::found);
    assert!(lab.ask("user-7").await.is_ok(), "a panic does not block the next fetch");
}

#[tokio::test(start_paused = true)]
async fn a_hanging_call_fails_within_two_seconds() {
    let lab = Lab::start(|_, _| {});
    lab.respond(|_| (NEAR, Reply::Nothing));
    let asked = Instant::now();
    assert_eq!(lab.ask("ada").await.unwrap_err(), Failure::Unavailable);
    assert!(asked.elapsed() <= Duration::from_millis(2001), "{:?}", asked.elapsed());
    assert_eq!(lab.calls(), 2, "each attempt has one second");
    let waiting = join_all((0..2000).map(|n| lab.ask_owned(format!("user-{n}")))).await;
    assert!(waiting.iter().all(Result::is_err));
    // Callers give up before their fetch does.
    sleep(Duration::from_secs(2)).await;
    assert_eq!(lab.users.0.single_flight.len(), 0, "no fetch is left in flight");
}

#[tokio::test(start_paused = true)]
async fn a_caller_learns_before_its_deadline_that_cognito_hangs() {
    let lab = Lab::start(|_, _| {});
    lab.respond(|_| (NEAR, Reply::Nothing));
    for milliseconds in [1900, 900, 520] {
        let (time, asked) = (Duration::from_millis(milliseconds), Instant::now());
        let failure =
            lab.ask_with("ada", FreshnessRequirement::Any, account(0, None), time).await.unwrap_err();
        assert_eq!(failure, Failure::Unavailable, "{milliseconds} ms");
        assert!(asked.elapsed() < time, "{:?} of {time:?}", asked.elapsed());
        sleep(Duration::from_secs(2)).await;
    }
    // So short a time does not prove an outage.
    let lab = Lab::start(|_, _| {});
    lab.respond(|_| (NEAR, Reply::Nothing));
    let time = Duration::from_millis(400);
    let asked = timeout_at(
        Instant::now() + time,
        lab.ask_with("bob", FreshnessRequirement::Any, account(0, None), time),
    );
    assert!(asked.await.is_err(), "the deadline of the call ends it");
}

#[tokio::test(start_paused = true)]
async fn after_three_timeouts_calls_fail_at_once_until_a_probe_is_answered() {
    let lab = Lab::start(|_, _| {});
    lab.respond(|_| (NEAR, Reply::Nothing));
    for n in 0..3 {
        assert_eq!(lab.ask(&format!("user-{n}")).await.unwrap_err(), Failure::Unavailable);
    }
    let (mut probes, calls) = (0, lab.calls());
    for n in 0..3000 {
        let asked = Instant::now();
        match lab.ask(&format!("later-{n}")).await.unwrap_err() {
            Failure::CircuitOpen(wait) => {
                assert!(wait <= Duration::from_secs(5));
                assert_eq!(asked.elapsed(), Duration::ZERO);
            }
            failure => {
                assert_eq!((failure, asked.elapsed().as_secs()), (Failure::Unavailable, 1), "the probe");
                probes += 1;
            }
        }
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(lab.calls() - calls, probes, "a probe is not retried");
    assert!((10..=15).contains(&probes), "{probes} probes in a minute");
    lab.respond(Lab::found);
    sleep(Duration::from_secs(5)).await;
    assert!(lab.ask("ada").await.is_ok(), "the probe");
    assert!(join_all((0..50).map(|n| lab.ask_owned(format!("new-{n}")))).await.iter().all(Result::is_ok));
}

#[tokio::test(start_paused = true)]
async fn a_slow_cognito_delays_no_hit() {
    let lab = Lab::start(|_, _| {});
    lab.ask("ada").await.unwrap();
    lab.respond(|request| (Duration::from_millis(1500), Lab::found(request).1));
    let strangers: Vec<_> = (0..1000).map(|n| lab.ask_owned(format!("user-{n}"))).collect();
    let known = async {
        for _ in 0..1000 {
            assert!(lab.ask("ada").now_or_never().expect("at once").is_ok());
        }
    };
    let (strangers, ()) = tokio::join!(join_all(strangers), known);
    assert!(strangers.iter().all(Result::is_err));
}

#[tokio::test(start_paused = true)]
async fn in_an_outage_of_two_hours_stale_entries_are_served_for_usable_for() {
    let lab = Lab::start(|_, _| {});
    lab.ask("ada").await.unwrap();
    let (began, before) = (Instant::now(), lab.calls());
    lab.respond(|_| (NEAR, Reply::Reset));
    let mut served = Duration::ZERO;
    while began.elapsed() < Duration::from_secs(7200) {
        match lab.ask("ada").await {
            Ok(_) => served = began.elapsed(),
            Err(failure) => assert_eq!(failure, Failure::Unavailable),
        }
        if began.elapsed().as_secs() == 120 {
            // One call a second once the TTL is over, and a tenth of that in retries.
            assert!(lab.calls() - before <= 110, "{} calls", lab.calls() - before);
        }
        sleep(if began.elapsed().as_secs() < 120 { NEAR } else { Duration::from_secs(10) }).await;
    }
    let minutes = served.as_secs() / 60;
    assert!((13..=16).contains(&minutes), "15 min with 10 % jitter, not {served:?}");
    lab.respond(Lab::found);
    assert!(lab.ask("ada").await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn with_the_rate_limit_exhausted_a_stale_entry_is_served_with_that_reason() {
    let lab = Lab::start(|_, budget| budget.user_reads_per_second = Some(4));
    lab.ask("ada").await.unwrap();
    sleep(Duration::from_secs(70)).await;
    let mut strangers: Vec<_> = (0..20).map(|n| lab.ask_owned(format!("user-{n}")).boxed()).collect();
    for stranger in &mut strangers {
        drop(stranger.now_or_never());
    }
    let found = lab.ask("ada").now_or_never().expect("at once").unwrap();
    assert_eq!(found.freshness().stale_reason, Some(StaleReason::BudgetExhausted));
    let now = FreshnessRequirement::MaxAge(Duration::from_secs(1));
    let bound =
        lab.ask_with("ada", now, account(0, None), Duration::from_secs(1)).now_or_never().expect("at once");
    assert!(matches!(bound, Err(Failure::BudgetExhausted(_))), "a requirement is a hard bound");
    sleep(Duration::from_secs(4)).await;
    assert_eq!(
        lab.ask("ada").await.unwrap().freshness().stale_reason,
        None,
        "the refusal is not noted for other callers"
    );
}

#[tokio::test(start_paused = true)]
async fn a_refusal_halfway_through_a_fetch_is_not_noted_for_other_callers() {
    let lab =
        Lab::of(BareSubLookup::AdminGetUserThenListUsers, |_, budget| budget.lists_per_second = Some(1));
    // Another user has Ada's former name, so only a list finds her, and likewise the unknown users.
    lab.respond(|_| (NEAR, Lab::found_as("Google_1", "ada")));
    lab.ask("ada").await.unwrap();
    lab.respond(|request| match request.input["Username"].as_str() {
        Some("Google_1") => (NEAR, Lab::found_as("Google_1", "somebody-else")),
        _ => (NEAR, Lab::error("UserNotFoundException")),
    });
    sleep(Duration::from_secs(70)).await;
    let strangers = join_all(["one", "two"].map(|sub| lab.ask(sub)));
    let known = async {
        for _ in 0..2 {
            let before = lab.calls();
            let found = lab.ask("ada").await.unwrap();
            assert_eq!(found.freshness().stale_reason, Some(StaleReason::BudgetExhausted));
            assert!(lab.calls() > before, "the next request fetches again");
        }
    };
    tokio::join!(strangers, known);
}

#[tokio::test(start_paused = true)]
async fn a_short_deadline_is_not_noted_as_an_outage() {
    let lab = Lab::start(|_, _| {});
    lab.ask("ada").await.unwrap();
    sleep(Duration::from_secs(70)).await;
    lab.respond(|request| (Duration::from_millis(300), Lab::found(request).1));
    let hasty = lab
        .ask_with("ada", FreshnessRequirement::Any, account(0, None), Duration::from_millis(200))
        .await
        .unwrap();
    assert_eq!(hasty.freshness().stale_reason, Some(StaleReason::UpstreamUnavailable));
    let patient = lab.ask("ada").await.unwrap();
    assert_eq!((patient.freshness().stale_reason, lab.calls()), (None, 2));
}

#[tokio::test(start_paused = true)]
async fn a_hanging_cognito_delays_a_stale_entry_by_half_a_second() {
    let lab = Lab::start(|_, _| {});
    lab.ask("ada").await.unwrap();
    sleep(Duration::from_secs(70)).await;
    lab.respond(|_| (NEAR, Reply::Nothing));
    let asked = Instant::now();
    let found = lab.ask("ada").await.unwrap();
    assert_eq!(found.freshness().stale_reason, Some(StaleReason::UpstreamUnavailable));
    assert_eq!(asked.elapsed(), lookup::BRIEF_WAIT);
    assert!(lab.ask("ada").now_or_never().expect("at once").is_ok(), "the next request does not wait");
}
