use cognito_lookup::{
    auth::{InvalidReason as Flaw, Rejected},
    proto::{
        GetUserRequest,
        health::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient},
    },
};
use cognito_standin::{Fault, SigningKey};
use serde_json::json;
use tonic::{
    Code, Request,
    metadata::{MetadataMap, MetadataValue},
};

use crate::{
    support::{ADA, App, Components, WEB, assert_failure, failure, metric_of, standin, with_token},
    verified_tokens::{ENTRIES, HITS},
};

#[tokio::test]
async fn a_token_with_a_changed_bit_or_byte_is_rejected() {
    let components = Components::start().await;
    let good = components.cognito.access_token("ada").unwrap();
    components.authenticated(&good).await;
    let bytes = good.as_bytes();
    let mut edits = Vec::new();
    for at in 0..bytes.len() {
        // Every bit except the highest, which would make the text invalid UTF-8.
        edits.extend((0..7).map(|bit| splice(bytes, at, 1, &[bytes[at] ^ 1 << bit])));
        edits.push(bytes[..at].to_vec());
        edits.push(bytes[at..].to_vec());
        edits.push(splice(bytes, at, 1, &[]));
        edits.push(splice(bytes, at, 0, b"A"));
        edits.push(splice(bytes, at, 1, &[bytes[at], bytes[at]]));
        edits.push(splice(bytes, at, 2, &[bytes.get(at + 1).copied().unwrap_or(b'A'), bytes[at]]));
    }
    let empty = MetadataMap::new();
    let mut at_signature = 0;
    for edit in edits.iter().filter(|edit| !edit.is_empty() && *edit != bytes) {
        let text = std::str::from_utf8(edit).unwrap();
        let rejected = components.authenticate(&empty, text).await.expect_err("the token was changed");
        at_signature += usize::from(rejected == Rejected::Invalid(Flaw::Signature));
    }
    for at in 0..bytes.len() {
        let value = [b"Bearer ", &splice(bytes, at, 1, &[bytes[at] ^ 0x80])[..]].concat();
        let mut metadata = MetadataMap::new();
        metadata.insert("authorization", MetadataValue::try_from(value).unwrap());
        assert_eq!(components.authenticate(&metadata, "").await.unwrap_err(), Rejected::Malformed);
    }
    // Most edits change the claims or the signature, so the signature check rejects them.
    assert!(at_signature > bytes.len(), "only {at_signature} edits reached the signature check");
    let (hits, entries) = (metric_of(&components.metrics, HITS), metric_of(&components.metrics, ENTRIES));
    assert_eq!((hits, entries), (0.0, 1.0));
    components.authenticated(&good).await;
    assert_eq!((metric_of(&components.metrics, HITS), components.cognito.calls("jwks")), (1.0, 1));
}

/// Returns `bytes` with `removed` of them at `at` replaced by `others`.
fn splice(bytes: &[u8], at: usize, removed: usize, others: &[u8]) -> Vec<u8> {
    let end = (at + removed).min(bytes.len());
    [&bytes[..at], others, &bytes[end..]].concat()
}

#[tokio::test]
async fn a_server_rejects_a_token_with_a_changed_or_missing_character() {
    let app = App::start().await;
    let good = app.token("ada");
    assert!(app.get_by_token(&good).await.is_ok());
    for at in 0..good.len() {
        let flipped = splice(good.as_bytes(), at, 1, &[good.as_bytes()[at] ^ 1]);
        let Ok(token) = String::from_utf8(flipped) else { continue };
        for token in [&token, &good[..at]] {
            let status = app.get_by_token(token).await.unwrap_err();
            // An unknown key id may be that of a new key.
            let other_key_id = at < good.find('.').unwrap() && failure(&status).1 == "KEYS_UNAVAILABLE";
            assert!(other_key_id || status.code() == Code::Unauthenticated, "byte {at}: {status:?}");
        }
    }
    assert!(app.get_by_token(&good).await.is_ok());
    assert_eq!((app.cognito_lookups(), app.metric(HITS).await), (1, 1.0));
}

#[tokio::test]
async fn without_a_credential_only_a_configured_network_is_accepted() {
    let app = App::start_with_config(|config| config.callers.truncate(1)).await;
    assert_failure(app.get_by_sub(ADA).await, Code::Unauthenticated, "TOKEN_MISSING");
    let token = app.token("ada");
    for (authorization, reason) in [
        ("Basic YWRhOmFkYQ==".to_owned(), "TOKEN_MISSING"),
        ("Bearer ".to_owned(), "TOKEN_MISSING"),
        (format!("Bearer {token}, Bearer {token}"), "TOKEN_MALFORMED"),
        (token, "TOKEN_MALFORMED"),
    ] {
        let mut request = Request::new(GetUserRequest::default());
        request.metadata_mut().insert("authorization", authorization.parse().unwrap());
        assert_failure(app.get_user(request).await, Code::Unauthenticated, reason);
    }
}

#[tokio::test]
async fn a_bad_credential_is_rejected_even_from_a_configured_network() {
    let app = App::start().await;
    let mut request = Request::new(GetUserRequest { sub: ADA.into(), ..GetUserRequest::default() });
    assert!(app.get_by_sub(ADA).await.is_ok());
    request.metadata_mut().insert("authorization", "Basic YWRhOmFkYQ==".parse().unwrap());
    assert_failure(app.get_user(request).await, Code::Unauthenticated, "TOKEN_MISSING");
    let malformed = with_token("a.b.c", GetUserRequest { sub: ADA.into(), ..GetUserRequest::default() });
    assert_failure(app.get_user(malformed).await, Code::Unauthenticated, "TOKEN_MALFORMED");
}

#[tokio::test]
async fn a_machine_token_has_no_user() {
    let app = App::start_with_config(|config| {
        config.pools[0].app_clients.push("sandboxmachine000000000001".into());
    })
    .await;
    let machine = app.cognito.machine_token("sandboxmachine000000000001", &["user-lookup/read"]);
    assert_failure(app.get_by_token(&machine).await, Code::PermissionDenied, "CALLER_NOT_ALLOWED");
    let presented = GetUserRequest { access_token: machine, ..GetUserRequest::default() };
    assert_failure(app.get_user(Request::new(presented)).await, Code::Unauthenticated, "TOKEN_WRONG_TYPE");
}

#[tokio::test]
async fn a_verified_client_without_a_rule_is_not_allowed() {
    let app = App::start_with_config(|config| {
        config.pools[0].app_clients.push("anotherclient".into());
    })
    .await;
    let mut claims = app.cognito.access_claims("ada").unwrap();
    claims["client_id"] = json!("anotherclient");
    let token = app.cognito.sign(SigningKey::Access, &app.cognito.header(SigningKey::Access), &claims);
    assert_failure(app.get_by_token(&token).await, Code::PermissionDenied, "CALLER_NOT_ALLOWED");
    assert_eq!(app.cognito_lookups(), 0);
}

#[tokio::test]
async fn the_largest_valid_token_is_accepted_in_metadata() {
    let app = App::start().await;
    let mut claims = app.cognito.access_claims("ada").unwrap();
    claims["cognito:groups"] = (0..100).map(|n| format!("{n:0>128}")).collect();
    claims["scope"] = json!(vec!["resource-server/a-scope-of-some-length"; 50].join(" "));
    let token = app.cognito.sign(SigningKey::Access, &app.cognito.header(SigningKey::Access), &claims);
    assert!(token.len() > 20_000, "{}", token.len());
    assert_eq!(app.get_by_token(&token).await.unwrap().user.unwrap().sub, ADA);
}

#[tokio::test]
async fn a_server_becomes_ready_when_its_keys_arrive_late() {
    let cognito = standin();
    cognito.inject("jwks", Fault::ServerError);
    let app = App::start_unready(cognito, |_| {}).await;
    app.cognito.wait_for_calls("jwks", 1).await;
    let mut health = HealthClient::new(app.channel.clone());
    let health_status = health.check(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(health_status.status(), ServingStatus::NotServing);
    let token = app.token("ada");
    assert_failure(app.get_by_token(&token).await, Code::Unavailable, "KEYS_UNAVAILABLE");
    assert!(app.get_by_sub(ADA).await.is_ok(), "a call without a token needs no key");
    app.cognito.clear_faults("jwks");
    app.wait_for_health(ServingStatus::Serving).await;
    assert!(app.get_by_token(&token).await.is_ok());
}

#[tokio::test]
async fn cached_keys_outlive_an_outage_of_the_key_server() {
    let app = App::start().await;
    app.cognito.inject("jwks", Fault::Hang);
    for _ in 0..10 {
        assert!(app.get_by_token(&app.token("ada")).await.is_ok());
    }
    assert_eq!(app.cognito.calls("jwks"), 1);
    assert_eq!(app.cognito.pool().web_clients, [WEB]);
}

#[tokio::test]
async fn a_token_in_the_trailers_is_not_a_credential() {
    let app = App::start_with_config(|config| config.callers.truncate(1)).await;
    let (response, mut body) = app.begin_get_user().await;
    // An empty message: uncompressed, length zero.
    body.send_data(vec![0; 5].into(), false).unwrap();
    let mut trailers = http::HeaderMap::new();
    trailers.insert("authorization", format!("Bearer {}", app.token("ada")).parse().unwrap());
    body.send_trailers(trailers).unwrap();
    let response = response.await.unwrap();
    assert_eq!(response.headers()["grpc-status"], "16");
    assert_eq!(app.cognito_lookups(), 0);
}
