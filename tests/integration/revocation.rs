use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cognito_lookup::{
    config::Config,
    proto::{
        BatchGetUsersRequest, GetUserRequest, RevokeTokensRequest, RevokeTokensResponse, Source,
        admin_service_client::AdminServiceClient, revoke_tokens_request::Tokens,
        user_service_client::UserServiceClient,
    },
};
use cognito_standin::SigningKey;
use serde_json::{Value, json};
use tonic::{Code, Request, Status};

use crate::{
    audit::Trail,
    support::{ADA, App, BOB, GRACE, failure, source},
};

#[tokio::test]
async fn a_signed_out_user_is_refused_until_it_signs_in_again() {
    let app = App::start_with_config(allow_admin).await;
    let old = issued(&app, "ada", -1);
    let grace = issued(&app, "Google_1034567890", -1);
    for token in [&old, &grace] {
        app.get_by_token(token).await.unwrap();
    }
    let lookups = app.cognito_lookups();
    let answer = revoke(&app, of_user(ADA, None)).await.unwrap();
    assert!(!answer.reached_all_replicas, "there is no shared cache");
    let until = SystemTime::try_from(answer.refused_until.unwrap()).unwrap();
    assert!(until > SystemTime::now() + Duration::from_secs(24 * 60 * 60));

    // One that is in the cache of verified tokens, and one that is not.
    for token in [&old, &issued(&app, "ada", 0), &old] {
        assert_refused(app.get_by_token(token).await, Code::Unauthenticated, "TOKEN_REVOKED");
    }
    let presented = GetUserRequest { access_token: old.clone(), ..GetUserRequest::default() };
    let presented = app.get_user(Request::new(presented)).await;
    assert_refused(presented, Code::Unauthenticated, "TOKEN_REVOKED");
    let batch = BatchGetUsersRequest { subs: vec![ADA.into()], ..BatchGetUsersRequest::default() };
    let mut batch = Request::new(batch);
    batch.metadata_mut().insert("authorization", format!("Bearer {old}").parse().unwrap());
    let batch = UserServiceClient::new(app.channel.clone()).batch_get_users(batch).await;
    assert_refused(batch, Code::Unauthenticated, "TOKEN_REVOKED");

    let new = app.get_by_token(&issued(&app, "ada", 2)).await.unwrap();
    assert_eq!(source(&new), Source::Cache, "what is cached of the user stays");
    app.get_by_token(&grace).await.unwrap();
    assert_eq!(app.cognito_lookups(), lookups, "a refusal costs no call to Cognito");
    assert_eq!(app.metric("cognito_lookup_revocation_marks").await, 1.0);
    let refused = format!("cognito_lookup_tokens_revoked_total{{pool=\"{}\"}}", app.cognito.pool_id());
    assert_eq!(app.metric(&refused).await, 5.0);
}

#[tokio::test]
async fn a_revocation_is_safe_to_repeat_and_never_moves_back() {
    let app = App::start_with_config(allow_admin).await;
    let claims = app.cognito.access_claims("ada").unwrap();
    let now = claims["iat"].as_i64().unwrap();
    let at = |from_now: i64| {
        Some(Tokens::IssuedUntil(prost_types::Timestamp { seconds: now + from_now, nanos: 0 }))
    };
    let issued = |from_now: i64| {
        let mut claims = claims.clone();
        claims["iat"] = json!(now + from_now);
        sign(&app, &claims)
    };
    let latest = revoke(&app, of_user(ADA, at(-10))).await.unwrap();
    for again in [-10, -60, -100_000] {
        assert_eq!(revoke(&app, of_user(ADA, at(again))).await.unwrap(), latest, "{again}");
    }
    assert_refused(app.get_by_token(&issued(-10)).await, Code::Unauthenticated, "TOKEN_REVOKED");
    app.get_by_token(&issued(-9)).await.unwrap();
    assert_ne!(revoke(&app, of_user(ADA, at(-9))).await.unwrap(), latest);
    assert_refused(app.get_by_token(&issued(-9)).await, Code::Unauthenticated, "TOKEN_REVOKED");
}

#[tokio::test]
async fn one_family_of_tokens_can_be_revoked() {
    let app = App::start_with_config(allow_admin).await;
    let claims = app.cognito.access_claims("ada").unwrap();
    let (own, other) = (sign(&app, &claims), app.token("ada"));
    for _ in 0..2 {
        // It may be revoked already, and name its user again.
        for sub in ["", ADA] {
            let answer = revoke(&app, of_token(sub, &own)).await.unwrap();
            assert!(answer.refused_until.is_some());
        }
        assert_refused(app.get_by_token(&own).await, Code::Unauthenticated, "TOKEN_REVOKED");
    }
    let mut refreshed = claims.clone();
    (refreshed["jti"], refreshed["iat"]) = (json!("another"), json!(claims["iat"].as_u64().unwrap() + 5));
    let refreshed = app.get_by_token(&sign(&app, &refreshed)).await;
    assert_refused(refreshed, Code::Unauthenticated, "TOKEN_REVOKED");
    app.get_by_token(&other).await.unwrap();
    app.get_by_token(&app.token("Google_1034567890")).await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_revoked_is_refused() {
    let app = App::start_with_config(allow_admin).await;
    let mut claims = app.cognito.access_claims("ada").unwrap();
    claims.as_object_mut().unwrap().remove("origin_jti");
    let without_family = sign(&app, &claims);
    (claims["iat"], claims["exp"]) = (json!(1000), json!(2000));
    let expired = sign(&app, &claims);
    let ahead = Tokens::IssuedUntil((SystemTime::now() + Duration::from_secs(60)).into());
    let beyond = Tokens::IssuedUntil(prost_types::Timestamp { seconds: i64::MAX, nanos: 0 });
    let table = [
        (of_user("", None), Code::InvalidArgument, "SUB_MALFORMED"),
        (of_user("a b", None), Code::InvalidArgument, "SUB_MALFORMED"),
        (of_user(ADA, Some(ahead)), Code::InvalidArgument, "FIELD_INVALID"),
        (of_user(ADA, Some(beyond)), Code::InvalidArgument, "FIELD_INVALID"),
        (of_token(BOB, &app.token("ada")), Code::InvalidArgument, "SUBJECT_AMBIGUOUS"),
        (of_token("", &without_family), Code::InvalidArgument, "FIELD_INVALID"),
        (of_token("", &expired), Code::Unauthenticated, "TOKEN_EXPIRED"),
        (of_token("", "not.a.token"), Code::Unauthenticated, "TOKEN_MALFORMED"),
        (of_token("", &app.cognito.id_token("ada").unwrap()), Code::Unauthenticated, "ID_TOKEN_REFUSED"),
    ];
    for (request, code, reason) in table {
        assert_refused(revoke(&app, request).await, code, reason);
    }
    assert_eq!(app.metric("cognito_lookup_revocation_marks").await, 0.0);
    let not_an_administrator = App::start().await;
    let denied = revoke(&not_an_administrator, of_user(GRACE, None)).await;
    assert_refused(denied, Code::PermissionDenied, "CALLER_NOT_ALLOWED");
}

#[tokio::test]
async fn a_revocation_without_room_is_not_confirmed() {
    let app = App::start_with_config(|config| {
        allow_admin(config);
        // Room for one.
        config.revocation.max_bytes = 320;
    })
    .await;
    revoke(&app, of_user(ADA, None)).await.unwrap();
    let hour_ago = Tokens::IssuedUntil((SystemTime::now() - Duration::from_secs(3600)).into());
    let refused = revoke(&app, of_user(BOB, Some(hour_ago))).await;
    assert_refused(refused, Code::ResourceExhausted, "REVOCATIONS_FULL");
    assert_eq!(app.metric("cognito_lookup_revocation_marks_dropped_total").await, 1.0);
    // What ends later takes the room.
    revoke(&app, of_user(BOB, None)).await.unwrap();
    app.get_by_token(&issued(&app, "ada", -1)).await.unwrap();
    assert_eq!(app.metric("cognito_lookup_revocation_marks_dropped_total").await, 2.0);
}

/// Who revoked what, but no token: it could be used elsewhere.
#[tokio::test]
async fn every_revocation_has_an_audit_record() {
    let trail = Trail::new();
    let mut app = App::start_with_config(trail.set(allow_admin)).await;
    let token = app.token("ada");
    revoke(&app, of_user(ADA, Some(Tokens::IssuedUntil(UNIX_EPOCH.into())))).await.unwrap();
    revoke(&app, of_token("", &token)).await.unwrap();
    let ahead = Tokens::IssuedUntil((SystemTime::now() + Duration::from_secs(60)).into());
    revoke(&app, of_user(ADA, Some(ahead))).await.unwrap_err();
    app.stop();
    app.wait_until_stopped().await;
    let records = trail.records();
    assert_eq!(trail.outcomes(), ["answered", "answered", "FIELD_INVALID"]);
    for record in &records {
        assert_eq!(record["method"], "userlookup.v1.AdminService/RevokeTokens");
        assert_eq!((&record["caller"], &record["sub_hash"]), (&json!("sidecar"), &records[0]["sub_hash"]));
        assert!(!record.to_string().contains(ADA) && !record.to_string().contains(&token), "{record}");
    }
    let revoked = records.iter().map(|record| (&record["revoked"], &record["issued_until"]));
    let epoch = json!("1970-01-01T00:00:00.000Z");
    let expected =
        [(&json!("issued_until"), &epoch), (&json!("family"), &Value::Null), (&Value::Null, &Value::Null)];
    assert_eq!(revoked.collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn a_token_must_not_outlive_its_revocation() {
    let app = App::start_with_config(|config| {
        allow_admin(config);
        config.revocation.token_lifetime = Duration::from_secs(600);
    })
    .await;
    let claims = app.cognito.access_claims("ada").unwrap();
    let lives = |seconds: u64| {
        let mut claims = claims.clone();
        claims["exp"] = json!(claims["iat"].as_u64().unwrap() + seconds);
        sign(&app, &claims)
    };
    app.get_by_token(&lives(600)).await.unwrap();
    assert_refused(app.get_by_token(&lives(611)).await, Code::Unauthenticated, "TOKEN_INVALID");
    let mut undated = claims.clone();
    undated.as_object_mut().unwrap().remove("iat");
    assert_refused(app.get_by_token(&sign(&app, &undated)).await, Code::Unauthenticated, "TOKEN_INVALID");
    let until = revoke(&app, of_user(ADA, Some(Tokens::IssuedUntil(UNIX_EPOCH.into())))).await.unwrap();
    assert_eq!(until.refused_until.unwrap().seconds, 620);
}

fn assert_refused<T>(answer: Result<T, Status>, code: Code, reason: &str) {
    let status = answer.err().unwrap();
    assert_eq!(failure(&status), (code, reason.to_owned()));
}

fn allow_admin(config: &mut Config) {
    config.callers[1].admin = true;
}

async fn revoke(app: &App, request: RevokeTokensRequest) -> Result<RevokeTokensResponse, Status> {
    let mut admin = AdminServiceClient::new(app.channel.clone());
    admin.revoke_tokens(request).await.map(tonic::Response::into_inner)
}

fn of_user(sub: &str, tokens: Option<Tokens>) -> RevokeTokensRequest {
    RevokeTokensRequest { sub: sub.into(), tokens, ..RevokeTokensRequest::default() }
}

fn of_token(sub: &str, token: &str) -> RevokeTokensRequest {
    of_user(sub, Some(Tokens::AccessToken(token.into())))
}

/// A token that was issued so many seconds from now.
fn issued(app: &App, username: &str, from_now: i64) -> String {
    let mut claims = app.cognito.access_claims(username).unwrap();
    claims["iat"] = json!(claims["iat"].as_i64().unwrap() + from_now);
    sign(app, &claims)
}

fn sign(app: &App, claims: &Value) -> String {
    app.cognito.sign(SigningKey::Access, &app.cognito.header(SigningKey::Access), claims)
}
