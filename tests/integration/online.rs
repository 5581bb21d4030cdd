use std::time::Duration;

use cognito_lookup::{
    config::{Config, OnlineCheck},
    proto::{
        BatchGetUsersRequest, ChangeKind, GetUserRequest, RevokeTokensRequest, WatchUsersRequest,
        admin_service_client::AdminServiceClient, user_service_client::UserServiceClient,
    },
};
use cognito_standin::{Fault, SigningKey};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::sleep;
use tonic::{Code, Request};

use crate::{
    events::own_queue,
    support::{ADA, App, BOB, assert_failure, failure, standin, with_token},
    watch::Watch,
};

fn always(config: &mut Config) {
    config.revocation.online = OnlineCheck::Always;
    config.revocation.online_every = EVERY;
}

/// A token of a sign-in of its own, and the name of that.
fn signed_in(app: &App, username: &str) -> (String, String) {
    let claims = app.cognito.access_claims(username).unwrap();
    (sign(app, &claims), claims["origin_jti"].as_str().unwrap().to_owned())
}

fn sign(app: &App, claims: &Value) -> String {
    app.cognito.sign(SigningKey::Access, &app.cognito.header(SigningKey::Access), claims)
}

async fn checks(app: &App, outcome: &str) -> f64 {
    app.metric(&format!("cognito_lookup_revocation_online_checks_total{{outcome=\"{outcome}\"}}")).await
}

const EVERY: Duration = Duration::from_millis(1_500);

#[tokio::test]
async fn a_token_that_no_event_reports_as_revoked_is_refused_within_the_interval() {
    for is_on in [true, false] {
        let app = App::start_with_config(|config| {
            if is_on {
                always(config)
            }
        })
        .await;
        let ([revoked, other], grace) =
            (["ada", "ada"].map(|name| signed_in(&app, name)), app.token("Google_1034567890"));
        for token in [&revoked.0, &revoked.0, &other.0, &grace] {
            app.get_by_token(token).await.unwrap();
        }
        assert_eq!(app.cognito.calls("GetUser"), if is_on { 3 } else { 0 }, "once for each sign-in");
        app.cognito.revoke_family(&revoked.1);
        sleep(EVERY).await;
        if !is_on {
            app.get_by_token(&revoked.0).await.unwrap();
            continue;
        }
        assert_failure(app.get_by_token(&revoked.0).await, Code::Unauthenticated, "TOKEN_REVOKED");
        let calls = app.cognito.calls("GetUser");
        assert_failure(app.get_by_token(&revoked.0).await, Code::Unauthenticated, "TOKEN_REVOKED");
        assert_eq!(app.cognito.calls("GetUser"), calls, "a refusal costs no call");
        app.get_by_token(&other.0).await.unwrap();
        assert_eq!((checks(&app, "Revoked").await, checks(&app, "Valid").await), (1.0, 4.0));
        let calls = "cognito_lookup_upstream_calls_total{operation=\"GetUser\",outcome=\"Answered\"}";
        assert_eq!(app.metric(calls).await, 5.0);
        let refused = format!("cognito_lookup_tokens_revoked_total{{pool=\"{}\"}}", app.cognito.pool_id());
        assert_eq!(app.metric(&refused).await, 2.0);
    }
}

#[tokio::test]
async fn those_that_watch_are_told_of_a_sign_in_that_a_check_finds_revoked() {
    let app = App::start_with_config(|config| {
        always(config);
        config.callers[1].watch = true;
    })
    .await;
    let (token, sign_in) = signed_in(&app, "ada");
    app.cognito.revoke_family(&sign_in);
    let mut watch = Watch::open(&app.channel, WatchUsersRequest::default()).await.unwrap();
    assert_failure(app.get_by_token(&token).await, Code::Unauthenticated, "TOKEN_REVOKED");
    let change = watch.change().await;
    assert_eq!((change.sub.as_str(), change.kinds().collect::<Vec<_>>()), (ADA, vec![ChangeKind::SignedOut]));
    assert_eq!(change.tokens_issued_until, None, "the other sign-ins go on");
}

#[tokio::test]
async fn the_token_of_a_batch_and_a_presented_one_are_checked_too() {
    let app = App::start_with_config(always).await;
    let [token, presented] = ["ada", "ada"].map(|name| app.token(name));
    app.cognito.sign_out("ada");
    let batch = BatchGetUsersRequest { subs: vec![ADA.into()], ..BatchGetUsersRequest::default() };
    let mut batch = Request::new(batch);
    batch.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    let status = UserServiceClient::new(app.channel.clone()).batch_get_users(batch).await.unwrap_err();
    assert_eq!(failure(&status), (Code::Unauthenticated, "TOKEN_REVOKED".to_owned()));
    let presented = GetUserRequest { access_token: presented, ..GetUserRequest::default() };
    assert_failure(app.get_user(Request::new(presented)).await, Code::Unauthenticated, "TOKEN_REVOKED");
}

#[tokio::test]
async fn a_token_without_a_sign_in_is_refused_with_the_older_ones() {
    let app = App::start_with_config(always).await;
    let mut claims = app.cognito.access_claims("ada").unwrap();
    claims.as_object_mut().unwrap().remove("origin_jti");
    app.cognito.sign_out("ada");
    let token = sign(&app, &claims);
    assert_failure(app.get_by_token(&token).await, Code::Unauthenticated, "TOKEN_REVOKED");
    claims["iat"] = json!(claims["iat"].as_u64().unwrap() - 1);
    let calls = app.cognito.calls("GetUser");
    assert_failure(app.get_by_token(&sign(&app, &claims)).await, Code::Unauthenticated, "TOKEN_REVOKED");
    assert_eq!(app.cognito.calls("GetUser"), calls);
}

/// Its revocation would end first, because it is as old as the token.
#[tokio::test]
async fn a_token_whose_revocation_finds_no_room_is_refused_by_the_check_itself() {
    let app = App::start_with_config(|config| {
        always(config);
        config.callers[1].admin = true;
        // Room for one.
        config.revocation.max_bytes = 320;
    })
    .await;
    let later = RevokeTokensRequest { sub: BOB.into(), ..RevokeTokensRequest::default() };
    AdminServiceClient::new(app.channel.clone()).revoke_tokens(later).await.unwrap();
    let mut claims = app.cognito.access_claims("ada").unwrap();
    claims.as_object_mut().unwrap().remove("origin_jti");
    claims["iat"] = json!(claims["iat"].as_u64().unwrap() - 5);
    app.cognito.sign_out("ada");
    let token = sign(&app, &claims);
    for _ in 0..2 {
        assert_failure(app.get_by_token(&token).await, Code::Unauthenticated, "TOKEN_REVOKED");
    }
    assert_eq!((app.cognito.calls("GetUser"), checks(&app, "Revoked").await), (1, 1.0));
    assert_eq!(app.metric("cognito_lookup_revocation_marks_dropped_total").await, 1.0);
    sleep(EVERY).await;
    assert_failure(app.get_by_token(&token).await, Code::Unauthenticated, "TOKEN_REVOKED");
    assert_eq!(app.cognito.calls("GetUser"), 1, "a revoked token stays revoked");
}

#[tokio::test]
async fn a_token_that_cannot_be_checked_is_accepted_and_counted() {
    let app = App::start_with_config(always).await;
    let with = |edit: &dyn Fn(&mut Value)| {
        let mut claims = app.cognito.access_claims("ada").unwrap();
        edit(&mut claims);
        sign(&app, &claims)
    };
    let unscoped = with(&|claims| claims["scope"] = json!("openid"));
    let expiring = with(&|claims| claims["exp"] = json!(claims["iat"].as_u64().unwrap() + 20));
    app.cognito.sign_out("ada");
    for (token, outcome) in [(unscoped, "Unscoped"), (expiring, "Expiring")] {
        app.get_by_token(&token).await.unwrap();
        assert_eq!((checks(&app, outcome).await, app.cognito.calls("GetUser")), (1.0, 0), "{outcome}");
    }
}

/// An outage, and a rate limit without calls, must not refuse a user.
#[tokio::test]
async fn a_check_that_fails_or_takes_too_long_says_nothing() {
    let app = App::start_with_config(always).await;
    app.get_by_token(&app.token("ada")).await.unwrap();
    for (fault, outcome) in
        [(Fault::ServerError, "Failed"), (Fault::Throttle, "Throttled"), (Fault::AccessDenied, "Failed")]
    {
        app.cognito.inject("GetUser", fault);
        let before = checks(&app, outcome).await;
        app.get_by_token(&app.token("ada")).await.unwrap();
        assert_eq!(checks(&app, outcome).await, before + 1.0, "{outcome}");
    }
    app.cognito.inject("GetUser", Fault::Hang);
    let mut request = with_token(&app.token("ada"), GetUserRequest::default());
    request.set_timeout(Duration::from_millis(800));
    app.get_user(request).await.unwrap();
    assert_eq!(checks(&app, "Late").await, 1.0);
}

#[tokio::test]
async fn concurrent_calls_share_a_check() {
    let app = App::start_with_config(always).await;
    let (token, held) = (app.token("ada"), app.cognito.hold("GetUser"));
    let calls = join_all((0..20).map(|_| app.get_by_token(&token)));
    let (answers, ()) = tokio::join!(calls, async {
        app.cognito.wait_for_calls("GetUser", 1).await;
        held.release();
    });
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(app.cognito.calls("GetUser"), 1);
}

/// The event hides which sign-in it was.
#[tokio::test]
async fn after_the_event_of_a_revoked_refresh_token_its_tokens_are_refused_and_no_others() {
    for which in [OnlineCheck::Suspect, OnlineCheck::Off] {
        let cognito = standin();
        let events = own_queue(&cognito);
        let app = App::start_unready(cognito, move |config| {
            (config.events, config.revocation.online) = (events, which);
        })
        .await;
        app.wait_until_ready().await;
        let ([revoked, other], grace) =
            (["ada", "ada"].map(|name| signed_in(&app, name)), app.token("Google_1034567890"));
        for token in [&revoked.0, &other.0, &grace] {
            app.get_by_token(token).await.unwrap();
        }
        assert_eq!(app.cognito.calls("GetUser"), 0, "nothing is suspected");
        app.cognito.revoke_family(&revoked.1);
        app.cognito.send_message(app.cognito.event("RevokeToken", ADA).to_string());
        let outcome = if which == OnlineCheck::Off { "Unused" } else { "Suspect" };
        let series = format!("cognito_lookup_events_total{{event=\"RevokeToken\",outcome=\"{outcome}\"}}");
        app.wait_for_metric(&series, |count| count == 1.0).await;
        for token in [&other.0, &grace] {
            app.get_by_token(token).await.unwrap();
        }
        if which == OnlineCheck::Suspect {
            assert_failure(app.get_by_token(&revoked.0).await, Code::Unauthenticated, "TOKEN_REVOKED");
            assert_eq!(app.cognito.calls("GetUser"), 2, "grace is not suspected");
        } else {
            app.get_by_token(&revoked.0).await.unwrap();
        }
    }
}
