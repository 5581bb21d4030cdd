//! The bounds of one caller and of one user.

use futures_util::{FutureExt as _, future::join_all};
use tokio::time::sleep;

use super::{
    super::{cognito::fixtures::Reply, *},
    lab::{Lab, NEAR},
};
use crate::pool::BareSubLookup;

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
