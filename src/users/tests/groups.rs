//! Groups are fetched only on request, and are as fresh as the user.

use futures_util::{FutureExt as _, future::join_all};
use serde_json::json;
use tokio::time::sleep;

use super::{
    super::{cognito::fixtures::Reply, *},
    lab::{Lab, NEAR},
};

#[tokio::test(start_paused = true)]
async fn groups_are_fetched_on_request_and_then_cached() {
    let lab = Lab::start(|_, _| {});
    lab.respond(with_groups(3));
    lab.ask("ada").await.unwrap();
    assert_eq!(lab.operations(), ["AdminGetUser"], "no request for groups");
    let found = lab.ask_with_groups("ada").await.unwrap();
    assert_eq!(names(&found), ["group-0", "group-1", "group-2"]);
    // The user once more after the groups, because that response does not say whose groups they
    // are.
    assert_eq!(lab.operations(), ["AdminGetUser", "AdminListGroupsForUser", "AdminGetUser"]);
    let held = lab.ask_with_groups("ada").now_or_never().expect("a hit").unwrap();
    assert_eq!((names(&held).len(), held.freshness().source), (3, Source::Cache));
    assert!(lab.ask("ada").now_or_never().expect("a hit").unwrap().groups().is_none());

    // Past half of the TTL a hit refreshes both in the background; past all of it the caller waits.
    sleep(Duration::from_secs(34)).await;
    assert!(lab.ask_with_groups("ada").now_or_never().expect("a hit").is_ok());
    sleep(Duration::from_secs(1)).await;
    assert_eq!(lab.calls(), 6);
    sleep(Duration::from_secs(67)).await;
    assert!(lab.ask_with_groups("ada").now_or_never().is_none());
}

/// The groups take two calls.
#[tokio::test(start_paused = true)]
async fn the_user_and_its_groups_are_young_enough_when_they_leave() {
    let second = FreshnessRequirement::MaxAge(Duration::from_secs(1));
    // For how long the user is cached, the time of a call, and then the age of the answer and the calls.
    for (held, time, age, calls) in
        [(850, 40, 930, 2), (850, 100, 300, 3), (850, 400, 800, 5), (2000, 100, 300, 3), (2000, 400, 800, 6)]
    {
        let [held, time, age] = [held, time, age].map(Duration::from_millis);
        let lab = Lab::start(|_, _| {});
        lab.ask("ada").await.unwrap();
        sleep(held - NEAR).await;
        let (respond, before) = (with_groups(1), lab.calls());
        lab.respond(move |request| (time, respond(request).1));
        let found = lab.ask_with_groups_as_fresh("ada", second).await.unwrap();
        assert_eq!((found.freshness().age, lab.calls() - before), (age, calls), "{held:?} {time:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn concurrent_requests_share_one_fetch() {
    let lab = Lab::start(|_, _| {});
    lab.respond(with_groups(1));
    let herd = join_all((0..1000).map(|_| lab.ask_with_groups("ada")));
    assert!(herd.await.iter().all(Result::is_ok));
    assert_eq!(lab.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn pages_are_followed_up_to_the_quota() {
    for (groups, expected) in [(0, Some(0)), (60, Some(60)), (61, Some(61)), (100, Some(100)), (101, None)] {
        let lab = Lab::start(|_, _| {});
        lab.respond(with_groups(groups));
        let found = lab.ask_with_groups("ada").await;
        assert_eq!(found.as_ref().ok().map(|found| names(found).len()), expected, "{groups}");
        assert_eq!(found.err(), expected.is_none().then_some(Failure::Unreadable), "{groups}");
    }
    // Endless pages.
    let lab = Lab::start(|_, _| {});
    lab.respond(|request| match request.operation.as_str() {
        "AdminListGroupsForUser" => {
            (NEAR, Reply::Answer(200, json!({"Groups": [], "NextToken": "on"}).to_string()))
        }
        _ => Lab::found(request),
    });
    assert_eq!(lab.ask_with_groups("ada").await.unwrap_err(), Failure::Unreadable);
    assert_eq!(lab.calls(), 1 + 5);
}

#[tokio::test(start_paused = true)]
async fn groups_have_a_rate_limit_of_their_own() {
    let lab = Lab::start(|_, budget| budget.group_reads_per_second = Some(4));
    lab.respond(with_groups(1));
    let asking = (0..40).map(|n| {
        let lab = &lab;
        async move { lab.ask_with_groups(&format!("user-{n}")).await }
    });
    let (mut found, mut refused) = (0, 0);
    for answer in join_all(asking).await {
        match answer {
            Ok(_) => found += 1,
            Err(Failure::BudgetExhausted(_)) => refused += 1,
            Err(other) => panic!("{other:?}"),
        }
    }
    assert!((9..=12).contains(&found), "{found} found: 4 a second for as long as the callers wait");
    assert_eq!(found + refused, 40);
    lab.assert_operation_within("AdminListGroupsForUser", 4);
}

#[tokio::test(start_paused = true)]
async fn a_user_whose_groups_are_denied_is_served_without_groups() {
    let lab = Lab::start(|_, _| {});
    lab.respond(|request| match request.operation.as_str() {
        "AdminListGroupsForUser" => (NEAR, Lab::error("AccessDeniedException")),
        _ => Lab::found(request),
    });
    assert_eq!(lab.ask_with_groups("ada").await.unwrap_err(), Failure::AccessDenied);
    let user = lab.ask("ada").now_or_never().expect("a hit").unwrap();
    assert_eq!(user.freshness().stale_reason, None, "the user itself is well");

    lab.respond(with_groups(2));
    assert_eq!(names(&lab.ask_with_groups("ada").await.unwrap()).len(), 2);
    sleep(Duration::from_secs(70)).await;
    lab.respond(|request| match request.operation.as_str() {
        "AdminListGroupsForUser" => (NEAR, Lab::error("TooManyRequestsException")),
        _ => Lab::found(request),
    });
    let stale = lab.ask_with_groups("ada").await.unwrap();
    assert_eq!(names(&stale).len(), 2);
    assert_eq!(stale.freshness().stale_reason, Some(StaleReason::UpstreamThrottled));
    assert!(stale.freshness().age >= Duration::from_secs(70), "as old as the older of the two");
}

/// Another user takes the name, and with it the groups, between the two calls.
#[tokio::test(start_paused = true)]
async fn groups_of_another_user_with_the_same_name_are_not_returned() {
    let lab = Lab::start(|_, _| {});
    lab.ask("ada").await.unwrap();
    lab.respond(|request| match request.operation.as_str() {
        "AdminListGroupsForUser" => with_groups(1)(request),
        _ => (NEAR, Lab::found_as("ada", "somebody-else")),
    });
    assert_eq!(lab.ask_with_groups("ada").await.unwrap_err(), Failure::NoSuchUser);
    lab.respond(|_| (NEAR, Lab::error("UserNotFoundException")));
    assert_eq!(lab.ask_with_groups("ada").await.unwrap_err(), Failure::NoSuchUser, "nor is the user cached");
}

#[tokio::test(start_paused = true)]
async fn a_deleted_user_is_removed_from_the_cache() {
    let lab = Lab::start(|_, _| {});
    lab.ask("ada").await.unwrap();
    lab.respond(|_| (NEAR, Lab::error("UserNotFoundException")));
    assert!(lab.ask("ada").now_or_never().expect("a hit").is_ok());
    assert_eq!(lab.ask_with_groups("ada").await.unwrap_err(), Failure::NoSuchUser);
    assert_eq!(lab.ask("ada").await.unwrap_err(), Failure::NoSuchUser);
}

/// A user in this many groups, in pages of 60.
pub(super) fn with_groups(
    groups: usize,
) -> impl Fn(&cognito::fixtures::Request) -> (Duration, Reply) + Send + 'static {
    move |request| {
        if request.operation != "AdminListGroupsForUser" {
            return Lab::found(request);
        }
        let start = request.input["NextToken"].as_str().map_or(0, |token| token.parse().unwrap());
        let names = (start..groups).map(|n| json!({"GroupName": format!("group-{n}")}));
        let mut page = json!({"Groups": names.take(60).collect::<Vec<_>>()});
        if start + 60 < groups {
            page["NextToken"] = json!((start + 60).to_string());
        }
        (NEAR, Reply::Answer(200, page.to_string()))
    }
}

fn names(found: &Found) -> Vec<&str> {
    found.groups().unwrap().names().collect()
}
