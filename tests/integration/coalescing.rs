use std::{pin::pin, time::Duration};

use cognito_lookup::{
    freshness::Demand,
    proto::{Source, user_service_client::UserServiceClient},
    users::Failure,
};
use cognito_standin::Fault;
use futures_util::{FutureExt as _, future::join_all};
use tonic::{Code, Request};

use crate::support::{ADA, App, Components, GRACE, about, connect, default_deadline, failure, source};

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_cold_reads_of_one_user_are_one_call() {
    let app = App::start().await;
    let held = app.cognito.hold("AdminGetUser");
    // A connection carries 100 calls at once.
    let channels = join_all((0..10).map(|_| connect(app.address))).await;
    let asking = (0..1000).map(|n| {
        let mut users = UserServiceClient::new(channels[n % 10].clone());
        async move { users.get_user(Request::new(about(ADA))).await }
    });
    let opening = async {
        app.cognito.wait_for_calls("AdminGetUser", 1).await;
        held.release();
    };
    let (answers, ()) = tokio::join!(join_all(asking), opening);
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1000);
    assert_eq!(app.cognito_lookups(), 1);
}

#[tokio::test]
async fn a_hit_makes_no_call() {
    let app = App::start().await;
    assert_eq!(source(&app.get_by_sub(ADA).await.unwrap()), Source::Cognito);
    for _ in 0..10 {
        assert_eq!(source(&app.get_by_sub(ADA).await.unwrap()), Source::Cache);
        assert_eq!(source(&app.get_by_token(&app.token("ada")).await.unwrap()), Source::Cache);
    }
    assert_eq!(app.cognito_lookups(), 1);
}

#[tokio::test]
async fn a_failure_is_shared_by_those_who_wait_and_not_kept() {
    let app = App::start().await;
    app.cognito.inject_next("AdminGetUser", 1, Fault::AccessDenied);
    let held = app.cognito.hold("AdminGetUser");
    let asking = join_all((0..50).map(|_| app.get_by_sub(ADA)));
    let opening = async {
        app.cognito.wait_for_calls("AdminGetUser", 1).await;
        held.release();
    };
    let (answers, ()) = tokio::join!(asking, opening);
    let failed = answers.iter().filter_map(|answer| answer.as_ref().err());
    let failed: Vec<_> = failed.map(failure).collect();
    assert!(!failed.is_empty());
    assert!(failed.iter().all(|failed| *failed == (Code::Unavailable, "UPSTREAM_UNAVAILABLE".to_owned())));
    assert!(app.get_by_sub(ADA).await.is_ok());
}

#[tokio::test]
async fn callers_that_leave_neither_stop_nor_repeat_a_fetch() {
    let app = App::start().await;
    let held = app.cognito.hold("AdminGetUser");
    for _ in 0..300 {
        tokio::select! {
            biased;
            _ = app.get_by_sub(ADA) => panic!("answered while Cognito was held"),
            () = app.cognito.wait_for_calls("AdminGetUser", 1) => {}
        }
    }
    held.release();
    // Whoever comes now waits for the very fetch that all the others left.
    assert!(app.get_by_sub(ADA).await.is_ok());
    assert_eq!(app.cognito_lookups(), 1);
}

#[tokio::test]
async fn a_hit_past_half_of_its_freshness_is_served_and_refreshes_once() {
    let app = App::start_with_config(|config| config.cache.fresh_for = Duration::from_secs(2)).await;
    assert!(app.get_by_sub(ADA).await.is_ok());
    let held = app.cognito.hold("AdminGetUser");
    let mut hits = 0;
    while app.cognito.calls("AdminGetUser") < 2 {
        assert_eq!(source(&app.get_by_sub(ADA).await.unwrap()), Source::Cache);
        hits += 1;
        assert!(hits < 1_000_000);
    }
    for _ in 0..100 {
        assert_eq!(source(&app.get_by_sub(ADA).await.unwrap()), Source::Cache, "nobody waits for a refresh");
    }
    assert_eq!(app.cognito_lookups(), 2);
    held.release();
    app.cognito.wait_until_idle("AdminGetUser").await;
}

#[tokio::test]
async fn nobody_waits_for_more_than_three_fetches() {
    let parts = Components::start().await;
    parts.cognito.inject("ListUsers", Fault::AccessDenied);
    let by_sub = parts.permit(GRACE, "", Demand::ANY).await;
    let token = parts.cognito.access_token("Google_1034567890").unwrap();
    let by_token = parts.permit(GRACE, &token, Demand::ANY).await;
    let mut patient = pin!(parts.users.find(&by_token, default_deadline()));
    for _ in 0..3 {
        let mut other = pin!(parts.users.find(&by_sub, default_deadline()));
        assert!(other.as_mut().now_or_never().is_none());
        assert!(patient.as_mut().now_or_never().is_none());
        assert_eq!(other.await.unwrap_err(), Failure::AccessDenied);
    }
    assert_eq!(patient.await.unwrap_err(), Failure::Unavailable);
}
