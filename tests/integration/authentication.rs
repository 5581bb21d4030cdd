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
async fn no_bit_or_byte_of_a_token_can_be_changed() {
    let parts = Components::start().await;
    let good = parts.cognito.access_token("ada").unwrap();
    parts.authenticated(&good).await;
    let bytes = good.as_bytes();
    let mut edits = Vec::new();
    for at in 0..bytes.len() {
        // Every bit but the highest, which makes no text of it.
        edits.extend((0..7).map(|bit| spliced(bytes, at, 1, &[bytes[at] ^ 1 << bit])));
        edits.push(bytes[..at].to_vec());
        edits.push(bytes[at..].to_vec());
        edits.push(spliced(bytes, at, 1, &[]));
        edits.push(spliced(bytes, at, 0, b"A"));
        edits.push(spliced(bytes, at, 1, &[bytes[at], bytes[at]]));
        edits.push(spliced(bytes, at, 2, &[bytes.get(at + 1).copied().unwrap_or(b'A'), bytes[at]]));
    }
    let empty = MetadataMap::new();
    let mut verified = 0;
    for edit in edits.iter().filter(|edit| !edit.is_empty() && *edit != bytes) {
        let text = std::str::from_utf8(edit).unwrap();
        let rejected = parts.authenticate(&empty, text).await.expect_err("it is another token");
        verified += usize::from(rejected == Rejected::Invalid(Flaw::Signature));
    }
    for at in 0..bytes.len() {
        let value = [b"Bearer ", &spliced(bytes, at, 1, &[bytes[at] ^ 0x80])[..]].concat();
        let mut metadata = MetadataMap::new();
        metadata.insert("authorization", MetadataValue::try_from(value).unwrap());
        assert_eq!(parts.authenticate(&metadata, "").await.unwrap_err(), Rejected::Malformed);
    }
    // Most of what can be changed is the claims and the signature.
    assert!(verified > bytes.len(), "only {verified} were looked at to the end");
    let (hits, entries) = (metric_of(&parts.metrics, HITS), metric_of(&parts.metrics, ENTRIES));
    assert_eq!((hits, entries), (0.0, 1.0));
    parts.authenticated(&good).await;
    assert_eq!((metric_of(&parts.metrics, HITS), parts.cognito.calls("jwks")), (1.0, 1));
}

/// `bytes` with some others in place of `removed` of them.
fn spliced(bytes: &[u8], at: usize, removed: usize, others: &[u8]) -> Vec<u8> {
    let end = (at + removed).min(bytes.len());
    [&bytes[..at], others, &bytes[end..]].concat()
}

#[tokio::test]
async fn no_character_of_a_token_can_be_changed_on_its_way_to_a_server() {
    let app = App::start().await;
    let good = app.token("ada");
    assert!(app.get_by_token(&good).await.is_ok());
    for at in 0..good.len() {
        let flipped = spliced(good.as_bytes(), at, 1, &[good.as_bytes()[at] ^ 1]);
        let Ok(token) = String::from_utf8(flipped) else { continue };
        for token in [&token, &good[..at]] {
            let status = app.get_by_token(token).await.unwrap_err();
            // Another key's name may be a new key's.
            let renamed = at < good.find('.').unwrap() && failure(&status).1 == "KEYS_UNAVAILABLE";
            assert!(renamed || status.code() == Code::Unauthenticated, "byte {at}: {status:?}");
        }
    }
    assert!(app.get_by_token(&good).await.is_ok());
    assert_eq!((app.cognito_lookups(), app.metric(HITS).await), (1, 1.0));
}

#[tokio::test]
async fn without_a_credential_only_a_named_network_gets_in() {
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
async fn a_bad_credential_is_not_passed_over_for_the_network() {
    let app = App::start().await;
    let mut request = Request::new(GetUserRequest { sub: ADA.into(), ..GetUserRequest::default() });
    assert!(app.get_by_sub(ADA).await.is_ok());
    request.metadata_mut().insert("authorization", "Basic YWRhOmFkYQ==".parse().unwrap());
    assert_failure(app.get_user(request).await, Code::Unauthenticated, "TOKEN_MISSING");
    let stale = with_token("a.b.c", GetUserRequest { sub: ADA.into(), ..GetUserRequest::default() });
    assert_failure(app.get_user(stale).await, Code::Unauthenticated, "TOKEN_MALFORMED");
}

#[tokio::test]
async fn a_machines_token_is_nobodys() {
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
async fn the_largest_legal_token_passes_in_metadata() {
    let app = App::start().await;
    let mut claims = app.cognito.access_claims("ada").unwrap();
    claims["cognito:groups"] = (0..100).map(|n| format!("{n:0>128}")).collect();
    claims["scope"] = json!(vec!["resource-server/a-scope-of-some-length"; 50].join(" "));
    let token = app.cognito.sign(SigningKey::Access, &app.cognito.header(SigningKey::Access), &claims);
    assert!(token.len() > 20_000, "{}", token.len());
    assert_eq!(app.get_by_token(&token).await.unwrap().user.unwrap().sub, ADA);
}

#[tokio::test]
async fn keys_that_come_late_make_the_server_serve() {
    let cognito = standin();
    cognito.inject("jwks", Fault::ServerError);
    let app = App::start_unready(cognito, |_| {}).await;
    app.cognito.wait_for_calls("jwks", 1).await;
    let mut health = HealthClient::new(app.channel.clone());
    let told = health.check(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(told.status(), ServingStatus::NotServing);
    let token = app.token("ada");
    assert_failure(app.get_by_token(&token).await, Code::Unavailable, "KEYS_UNAVAILABLE");
    assert!(app.get_by_sub(ADA).await.is_ok(), "who needs no key is served");
    app.cognito.clear_faults("jwks");
    app.wait_for_health(ServingStatus::Serving).await;
    assert!(app.get_by_token(&token).await.is_ok());
}

#[tokio::test]
async fn known_keys_outlive_their_server() {
    let app = App::start().await;
    app.cognito.inject("jwks", Fault::Hang);
    for _ in 0..10 {
        assert!(app.get_by_token(&app.token("ada")).await.is_ok());
    }
    assert_eq!(app.cognito.calls("jwks"), 1);
    assert_eq!(app.cognito.pool().web_clients, [WEB]);
}

#[tokio::test]
async fn a_token_behind_the_message_is_no_credential() {
    let app = App::start_with_config(|config| config.callers.truncate(1)).await;
    let (response, mut body) = app.begin_get_user().await;
    // An empty message: not compressed, of no bytes.
    body.send_data(vec![0; 5].into(), false).unwrap();
    let mut trailers = http::HeaderMap::new();
    trailers.insert("authorization", format!("Bearer {}", app.token("ada")).parse().unwrap());
    body.send_trailers(trailers).unwrap();
    let response = response.await.unwrap();
    assert_eq!(response.headers()["grpc-status"], "16");
    assert_eq!(app.cognito_lookups(), 0);
}
