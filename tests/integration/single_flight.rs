use std::{pin::pin, time::Duration};

use cognito_lookup::{
    freshness::FreshnessRequirement,
    proto::{Source, user_service_client::UserServiceClient},
    users::Failure,
};
use cognito_standin::Fault;
use futures_util::{FutureExt as _, future::join_all};
use tonic::{Code, Request};

use crate::support::{ADA, App, Components, GRACE, about, connect, default_deadline, failure, source};

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_concurrent_misses_of_one_user_make_one_call() {
    let app = App::start().await;
    let hold = app.cognito.hold("AdminGetUser");
    // A connection carries at most 100 concurrent calls.
    let channels = join_all((0..10).map(|_| connect(app.address))).await;
    let calls = (0..1000).map(|n| {
        let mut users = UserServiceClient::new(channels[n % 10].clone());
        async move { users.get_user(Request::new(about(ADA))).await }
    });
    let release = async {
        app.cognito.wait_for_calls("AdminGetUser", 1).await;
        hold.release();
    };
    let (responses, ()) = tokio::join!(join_all(calls), release);
    assert_eq!(responses.iter().filter(|response| response.is_ok()).count(), 1000);
    assert_eq!(app.cognito_lookups(), 1);
}

#[tokio::test]
async fn a_cache_hit_makes_no_call() {
    let app = App::start().await;
    assert_eq!(source(&app.get_by_sub(ADA).await.unwrap()), Source::Cognito);
    for _ in 0..10 {
        assert_eq!(source(&app.get_by_sub(ADA).await.unwrap()), Source::Cache);
        assert_eq!(source(&app.get_by_token(&app.token("ada")).await.unwrap()), Source::Cache);
    }
    assert_eq!(app.cognito_lookups(), 1);
}

#[tokio::test]
async fn a_failed_fetch_fails_all_its_waiters_and_is_not_cached() {
    let app = App::start().await;
    app.cognito.inject_next("AdminGetUser", 1, Fault::AccessDenied);
    let hold = app.cognito.hold("AdminGetUser");
    let calls = join_all((0..50).map(|_| app.get_by_sub(ADA)));
    let release = async {
        app.cognito.wait_for_calls("AdminGetUser", 1).await;
        hold.release();
    };
    let (responses, ()) = tokio::join!(calls, release);
    let failed = responses.iter().filter_map(|response| response.as_ref().err());
    let failed: Vec<_> = failed.map(failure).collect();
    assert!(!failed.is_empty());
    assert!(failed.iter().all(|failed| *failed == (Code::Unavailable, "UPSTREAM_UNAVAILABLE".to_owned())));
    assert!(app.get_by_sub(ADA).await.is_ok());
}

#[tokio::test]
async fn cancelled_callers_neither_stop_nor_repeat_a_fetch() {
    let app = App::start().await;
    let hold = app.cognito.hold("AdminGetUser");
    for _ in 0..300 {
        tokio::select! {
            biased;
            _ = app.get_by_sub(ADA) => panic!("the call returned while the fetch was held"),
            () = app.cognito.wait_for_calls("AdminGetUser", 1) => {}
        }
    }
    hold.release();
    // A new call joins the fetch that the cancelled callers started.
    assert!(app.get_by_sub(ADA).await.is_ok());
    assert_eq!(app.cognito_lookups(), 1);
}

#[tokio::test]
async fn a_hit_past_half_of_its_ttl_is_served_and_refreshed_once() {
    let app = App::start_with_config(|config| config.cache.fresh_for = Duration::from_secs(2)).await;
    assert!(app.get_by_sub(ADA).await.is_ok());
    let hold = app.cognito.hold("AdminGetUser");
    let mut hits = 0;
    while app.cognito.calls("AdminGetUser") < 2 {
        assert_eq!(source(&app.get_by_sub(ADA).await.unwrap()), Source::Cache);
        hits += 1;
        assert!(hits < 1_000_000);
    }
    for _ in 0..100 {
        assert_eq!(
            source(&app.get_by_sub(ADA).await.unwrap()),
            Source::Cache,
            "a hit does not wait for its refresh"
        );
    }
    assert_eq!(app.cognito_lookups(), 2);
    hold.release();
    app.cognito.wait_until_idle("AdminGetUser").await;
}

#[tokio::test]
async fn a_call_waits_for_at_most_six_fetches() {
    let components = Components::start().await;
    components.cognito.inject("ListUsers", Fault::AccessDenied);
    let by_sub = components.permit(GRACE, "", FreshnessRequirement::Any).await;
    let token = components.cognito.access_token("Google_1034567890").unwrap();
    let by_token = components.permit(GRACE, &token, FreshnessRequirement::Any).await;
    let mut waiting = pin!(components.users.find(&by_token, default_deadline()));
    for _ in 0..6 {
        let mut other = pin!(components.users.find(&by_sub, default_deadline()));
        assert!(other.as_mut().now_or_never().is_none());
        assert!(waiting.as_mut().now_or_never().is_none());
        assert_eq!(other.await.unwrap_err(), Failure::AccessDenied);
    }
    assert_eq!(waiting.await.unwrap_err(), Failure::Unavailable);
}
