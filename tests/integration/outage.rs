use std::time::Duration;

use cognito_lookup::{
    config::BareSub,
    proto::{GetUserRequest, Source, StaleReason, health::health_check_response::ServingStatus},
};
use cognito_standin::{Fault, HttpResponse};
use serde_json::json;
use tonic::{Code, Request};
use tonic_types::StatusExt as _;

use crate::support::{ADA, App, BOB, GRACE, about, assert_failure, http_get, max_age, source};

#[tokio::test]
async fn an_outage_is_unavailable_and_ends_with_cognitos_return() {
    let app = App::start().await;
    app.cognito.stop().unwrap();
    let status = assert_failure(app.get_by_sub(ADA).await, Code::Unavailable, "UPSTREAM_UNAVAILABLE");
    assert!(status.get_details_retry_info().unwrap().retry_delay.is_some());
    assert!(status.metadata().contains_key("grpc-retry-pushback-ms"));
    app.cognito.resume().unwrap();
    assert_eq!(source(&app.get_by_sub(ADA).await.unwrap()), Source::Cognito, "failures are not cached");
}

/// Otherwise the alert for an exhausted rate limit fires in each outage.
#[tokio::test]
async fn an_outage_is_not_counted_as_an_exhausted_rate_limit() {
    let app = App::start().await;
    app.cognito.inject("AdminGetUser", Fault::Reset);
    for n in 0..30 {
        let sub = format!("00000000-5a4d-4b0c-8000-{n:012}");
        assert_failure(app.get_by_sub(&sub).await, Code::Unavailable, "UPSTREAM_UNAVAILABLE");
    }
    let failed =
        app.metric("cognito_lookup_upstream_calls_total{operation=\"AdminGetUser\",outcome=\"Failed\"}");
    assert!(failed.await < 60.0, "some calls were not retried");
    assert_eq!(app.metric("cognito_lookup_upstream_refusals_total{category=\"UserRead\"}").await, 0.0);
}

#[tokio::test]
async fn fresh_entries_are_served_during_an_outage() {
    let app = App::start().await;
    assert!(app.get_by_sub(ADA).await.is_ok());
    app.cognito.stop().unwrap();
    assert_eq!(source(&app.get_by_sub(ADA).await.unwrap()), Source::Cache);
    assert_eq!(source(&app.get_by_token(&app.token("ada")).await.unwrap()), Source::Cache);
}

#[tokio::test]
async fn stale_entries_are_served_with_a_reason_while_fetches_fail() {
    let cases = [
        (Fault::Throttle, StaleReason::UpstreamThrottled),
        (Fault::ServerError, StaleReason::UpstreamUnavailable),
        (Fault::AccessDenied, StaleReason::UpstreamUnavailable),
        (Fault::Reset, StaleReason::UpstreamUnavailable),
    ];
    for (fault, reason) in cases {
        let app = App::start_with_config(|config| config.cache.fresh_for = Duration::from_millis(1)).await;
        assert!(app.get_by_sub(ADA).await.is_ok());
        app.cognito.inject("AdminGetUser", fault);
        let freshness = loop {
            let freshness = app.get_by_sub(ADA).await.unwrap().freshness.unwrap();
            if freshness.stale_reason() != StaleReason::Unspecified {
                break freshness;
            }
        };
        assert_eq!((freshness.source(), freshness.stale_reason()), (Source::Cache, reason));
        let now = GetUserRequest { freshness: max_age(0), ..about(ADA) };
        assert_eq!(
            app.get_user(Request::new(now)).await.unwrap_err().code(),
            Code::Unavailable,
            "max_age has no stale fallback"
        );

        app.cognito.clear_faults("AdminGetUser");
        let now = GetUserRequest { freshness: max_age(0), ..about(ADA) };
        let recovered = app.get_user(Request::new(now)).await.unwrap().freshness.unwrap();
        assert_eq!(recovered.stale_reason(), StaleReason::Unspecified);
    }
}

#[tokio::test]
async fn a_stale_entry_is_served_before_a_hanging_fetch_times_out() {
    let app = App::start_with_config(|config| config.cache.fresh_for = Duration::from_millis(1)).await;
    assert!(app.get_by_sub(ADA).await.is_ok());
    app.cognito.inject("AdminGetUser", Fault::Hang);
    loop {
        // Less than the 2 s timeout of a fetch, more than the 0.5 s that a call with a stale entry
        // waits for one.
        let mut request = Request::new(about(ADA));
        request.metadata_mut().insert("grpc-timeout", "1500m".parse().unwrap());
        let freshness = app.get_user(request).await.unwrap().freshness.unwrap();
        if freshness.stale_reason() == StaleReason::UpstreamUnavailable {
            break;
        }
    }
}

#[tokio::test]
async fn expired_entries_are_not_served() {
    let app = App::start_with_config(|config| {
        config.cache.fresh_for = Duration::from_millis(1);
        config.cache.usable_for = Duration::from_millis(1);
    })
    .await;
    assert!(app.get_by_sub(ADA).await.is_ok());
    app.cognito.stop().unwrap();
    let status = loop {
        if let Err(status) = app.get_by_sub(ADA).await {
            break status;
        }
    };
    assert_eq!(status.code(), Code::Unavailable);
}

#[tokio::test]
async fn a_failing_user_is_fetched_at_most_once_a_second() {
    let app = App::start_with_config(|config| config.cache.fresh_for = Duration::from_millis(1)).await;
    assert!(app.get_by_sub(ADA).await.is_ok());
    app.cognito.inject("AdminGetUser", Fault::AccessDenied);
    while app.cognito_lookups() < 2 {
        assert!(app.get_by_sub(ADA).await.is_ok());
    }
    let start = tokio::time::Instant::now();
    for _ in 0..500 {
        assert!(app.get_by_sub(ADA).await.is_ok());
    }
    // One fetch per second, and one that the first loop may have left in flight.
    let seconds = usize::try_from(start.elapsed().as_secs()).unwrap();
    assert!(app.cognito_lookups() <= 4 + seconds, "{} lookups in {seconds} s", app.cognito_lookups());
}

#[tokio::test]
async fn a_response_for_the_wrong_user_is_never_replaced_by_a_stale_entry() {
    let app = App::start_with_config(|config| {
        config.cache.fresh_for = Duration::from_millis(1);
        config.pools[0].bare_sub = BareSub::ListUsers;
    })
    .await;
    assert!(app.get_by_sub(ADA).await.is_ok());
    app.cognito.inject("ListUsers", Fault::WrongUser("bob".into()));
    let status = loop {
        if let Err(status) = app.get_by_sub(ADA).await {
            break status;
        }
    };
    assert_eq!(crate::support::failure(&status), (Code::Internal, "INTERNAL".to_owned()));
    app.cognito.inject("ListUsers", Fault::Throttle);
    for _ in 0..3 {
        // The mismatch also removed the entry, so a later failure has nothing stale to serve.
        assert_failure(app.get_by_sub(ADA).await, Code::Unavailable, "UPSTREAM_THROTTLED");
    }
}

#[tokio::test]
async fn each_failure_of_cognito_has_its_reason_and_is_never_not_found() {
    let respond = |body: &str| Fault::Respond(HttpResponse::new(200, "application/x-amz-json-1.1", body));
    let user = |attributes: serde_json::Value| {
        let body = json!({"Username": "ada", "Enabled": true, "UserStatus": "CONFIRMED", "UserAttributes": attributes});
        Fault::Respond(HttpResponse::json(200, &body))
    };
    let email = json!({"Name": "email", "Value": "ada@example.com"});
    let sub = json!({"Name": "sub", "Value": ADA});
    let whole = json!({"Username": "ada", "Enabled": true, "UserAttributes": [sub, email]});
    let error = |code: &str| {
        Fault::Respond(HttpResponse::json(400, &json!({"__type": code, "message": "ada@example.com"})))
    };
    let table = [
        ("throttled", Fault::Throttle, "UPSTREAM_THROTTLED"),
        ("failing", Fault::ServerError, "UPSTREAM_UNAVAILABLE"),
        ("denying", Fault::AccessDenied, "UPSTREAM_UNAVAILABLE"),
        ("resetting", Fault::Reset, "UPSTREAM_UNAVAILABLE"),
        ("hanging", Fault::Hang, "UPSTREAM_UNAVAILABLE"),
        ("an endless body", Fault::EndlessBody(Duration::from_millis(300)), "UPSTREAM_UNAVAILABLE"),
        ("truncated JSON", respond("{\"Username\": \"a"), "UPSTREAM_UNAVAILABLE"),
        ("HTML", Fault::Respond(HttpResponse::new(200, "text/html", "<html>")), "UPSTREAM_UNAVAILABLE"),
        ("an empty body", respond(""), "UPSTREAM_UNAVAILABLE"),
        ("no attributes", user(json!([])), "UPSTREAM_UNAVAILABLE"),
        ("no sub", user(json!([email])), "UPSTREAM_UNAVAILABLE"),
        ("reset in the body", Fault::ResetInBody(HttpResponse::json(200, &whole)), "UPSTREAM_UNAVAILABLE"),
        (
            "10 MB",
            user(json!([sub, {"Name": "email", "Value": "x".repeat(10_000_000)}])),
            "UPSTREAM_UNAVAILABLE",
        ),
        ("no such pool", error("ResourceNotFoundException"), "UPSTREAM_UNAVAILABLE"),
        ("not authorized", error("NotAuthorizedException"), "UPSTREAM_UNAVAILABLE"),
        ("expired credentials", error("ExpiredTokenException"), "UPSTREAM_UNAVAILABLE"),
        ("a skewed clock", error("InvalidSignatureException"), "UPSTREAM_UNAVAILABLE"),
        ("throttled by another code", error("ThrottlingException"), "UPSTREAM_THROTTLED"),
    ];
    for (case, fault, reason) in table {
        let app = App::start().await;
        app.cognito.inject("AdminGetUser", fault);
        let response = app.get_by_sub(ADA).await;
        assert!(response.is_err(), "{case}");
        let status = assert_failure(response, Code::Unavailable, reason);
        assert!(!status.message().contains("ada@example.com"), "{case}");
        assert!(app.cognito_lookups() <= 2, "at most one retry: {case}");
        app.cognito.clear_faults("AdminGetUser");
        assert!(app.get_by_sub(ADA).await.is_ok(), "failures are not cached: {case}");
    }
}

/// Readiness depends on the keys and the credentials only. If it depended on the pool, a load
/// balancer would remove all replicas and so deny the cached users too.
#[tokio::test]
async fn a_deleted_pool_leaves_the_server_ready_to_serve_its_cache() {
    let app = App::start().await;
    assert!(app.get_by_sub(ADA).await.is_ok());
    for code in ["ResourceNotFoundException", "ExpiredTokenException", "AccessDeniedException"] {
        let reply = HttpResponse::json(400, &json!({"__type": code, "message": "no"}));
        app.cognito.inject("AdminGetUser", Fault::Respond(reply));
        assert_failure(app.get_by_sub(BOB).await, Code::Unavailable, "UPSTREAM_UNAVAILABLE");
        assert_eq!(source(&app.get_by_sub(ADA).await.unwrap()), Source::Cache);
        app.wait_for_health(ServingStatus::Serving).await;
        assert_eq!(http_get(app.admin, "/readyz").await.0, 200, "{code}");
    }
}

#[tokio::test]
async fn a_hanging_call_is_retried_once() {
    let app = App::start().await;
    let token = app.token("ada");
    app.cognito.inject_next("AdminGetUser", 1, Fault::Hang);
    assert!(app.get_by_token(&token).await.is_ok());
    assert_eq!(app.cognito_lookups(), 2);
}

#[tokio::test]
async fn all_calls_of_one_fetch_share_its_timeout() {
    let app = App::start().await;
    // Each of the two operations would end within the timeout, but not both together.
    app.cognito.inject_next("AdminGetUser", 1, Fault::Hang);
    app.cognito.inject_next("AdminGetUser", 1, Fault::Delay(Duration::from_millis(500)));
    app.cognito.inject("ListUsers", Fault::Hang);
    assert_failure(app.get_by_sub(GRACE).await, Code::Unavailable, "UPSTREAM_UNAVAILABLE");
}

#[tokio::test]
async fn an_access_denied_list_users_is_not_cached_as_not_found() {
    let app = App::start().await;
    app.cognito.inject("ListUsers", Fault::AccessDenied);
    assert_failure(app.get_by_sub(GRACE).await, Code::Unavailable, "UPSTREAM_UNAVAILABLE");
    app.cognito.clear_faults("ListUsers");
    assert!(app.get_by_sub(GRACE).await.is_ok());
}

#[tokio::test]
async fn several_users_with_the_same_sub_are_an_internal_error() {
    let app = App::start().await;
    let user = json!({"Username": "x", "Enabled": true, "Attributes": [{"Name": "sub", "Value": GRACE}]});
    app.cognito.inject("ListUsers", Fault::Respond(HttpResponse::json(200, &json!({"Users": [user, user]}))));
    assert_failure(app.get_by_sub(GRACE).await, Code::Internal, "INTERNAL");
}

#[tokio::test]
async fn a_list_users_response_without_a_list_is_not_cached_as_not_found() {
    let app = App::start().await;
    for body in ["", "{}", r#"{"Username": "ada", "UserAttributes": []}"#] {
        app.cognito
            .inject("ListUsers", Fault::Respond(HttpResponse::new(200, "application/x-amz-json-1.1", body)));
        assert_failure(app.get_by_sub(GRACE).await, Code::Unavailable, "UPSTREAM_UNAVAILABLE");
    }
    app.cognito.clear_faults("ListUsers");
    assert!(app.get_by_sub(GRACE).await.is_ok(), "failures are not cached");
}

#[tokio::test]
async fn a_few_empty_pages_are_followed() {
    let app = App::start().await;
    let empty = || Fault::Respond(HttpResponse::json(200, &json!({"Users": [], "PaginationToken": "more"})));
    app.cognito.inject("ListUsers", empty());
    assert_failure(app.get_by_sub("nobody").await, Code::Unavailable, "UPSTREAM_UNAVAILABLE");
    assert_eq!(app.cognito.calls("ListUsers"), 5);
    app.cognito.clear_faults("ListUsers");
    app.cognito.inject_next("ListUsers", 2, empty());
    let found = Fault::Respond(HttpResponse::json(
        200,
        &json!({"Users": [
            {"Username": "x", "Enabled": true, "Attributes": [{"Name": "sub", "Value": "somebody"}]},
        ]}),
    ));
    app.cognito.inject_next("ListUsers", 1, found);
    assert_eq!(app.get_by_sub("somebody").await.unwrap().user.unwrap().sub, "somebody");
}

#[tokio::test]
async fn a_call_past_its_deadline_fails_and_its_fetch_still_fills_the_cache() {
    let app = App::start().await;
    let hold = app.cognito.hold("AdminGetUser");
    // tonic's client enforces the header too. The server responds up to 20 ms before that.
    let mut request = Request::new(about(ADA));
    request.metadata_mut().insert("grpc-timeout", "200m".parse().unwrap());
    assert_failure(app.get_user(request).await, Code::DeadlineExceeded, "DEADLINE");
    hold.release();
    app.cognito.wait_until_idle("AdminGetUser").await;
    assert!(app.get_by_sub(ADA).await.is_ok());
    assert_eq!(app.cognito_lookups(), 1);
}

#[tokio::test]
async fn the_servers_own_request_timeout_applies_too() {
    let app =
        App::start_with_config(|config| config.limits.request_timeout = Duration::from_millis(50)).await;
    let hold = app.cognito.hold("AdminGetUser");
    assert_failure(app.get_by_sub(ADA).await, Code::DeadlineExceeded, "DEADLINE");
    hold.release();
}
