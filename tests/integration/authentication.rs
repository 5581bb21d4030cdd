use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use cognito_lookup::{
    sandbox::standin::{Fault, Keys, Pool, Signer, StandIn},
    wire::proto::{
        GetUserRequest,
        health::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient},
    },
};
use serde_json::{Value, json};
use tonic::{Code, Request};

use crate::support::{ADA, App, WEB, assert_failure, bearing, failure, standin};

#[tokio::test]
async fn a_bad_token_is_refused_with_its_reason_and_costs_nothing() {
    let app = App::start().await;
    let good = app.token("ada");
    assert!(app.by_token(&good).await.is_ok());
    let (lookups, fetches) = (app.lookups(), app.cognito.calls("jwks"));
    for (case, token, reason) in bad_tokens(&app.cognito) {
        assert_failure(app.by_token(&token).await, Code::Unauthenticated, reason);
        let presented = GetUserRequest { access_token: token, ..GetUserRequest::default() };
        // The same bytes get the same answer through the message field, whoever brings them.
        assert_failure(app.ask(Request::new(presented)).await, Code::Unauthenticated, reason);
        assert!(app.by_token(&good).await.is_ok(), "the good token after: {case}");
    }
    assert_eq!((app.lookups(), app.cognito.calls("jwks")), (lookups, fetches));
}

fn bad_tokens(cognito: &StandIn) -> Vec<(&'static str, String, &'static str)> {
    let claims = cognito.access_claims("ada").unwrap();
    let header = cognito.header(Signer::Access);
    let now = claims["iat"].as_u64().unwrap();
    let with = |name: &str, value: Value| {
        let mut claims = claims.clone();
        claims[name] = value;
        cognito.sign(Signer::Access, &header, &claims)
    };
    let headed = |name: &str, value: Value| {
        let mut header = header.clone();
        header[name] = value;
        cognito.sign(Signer::Access, &header, &claims)
    };
    let good = cognito.access_token("ada").unwrap();
    let [head, body, signature] = good.split('.').collect::<Vec<_>>().try_into().unwrap();
    let foreign_pool = "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_Other";
    let encoded = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let edited = encoded(&json!({"sub": "somebody-else", "iss": cognito.issuer()}));
    let late = json!({"alg": "RS256", "kid": cognito.kid(Signer::Access)});
    vec![
        ("an ID token", cognito.id_token("ada").unwrap(), "ID_TOKEN_REFUSED"),
        ("expired", with("exp", json!(now - 60)), "TOKEN_EXPIRED"),
        ("not valid yet", with("nbf", json!(now + 600)), "TOKEN_NOT_YET_VALID"),
        (
            "expired, and not signed",
            format!("{head}.{}.{signature}", encoded(&json!({"exp": 1, "iss": cognito.issuer()}))),
            "TOKEN_INVALID",
        ),
        ("valid for ten years", with("exp", json!(now + 315_360_000)), "TOKEN_INVALID"),
        ("without an end", with("exp", Value::Null), "TOKEN_INVALID"),
        ("of another client", with("client_id", json!("anotherclient")), "TOKEN_INVALID"),
        ("of another pool", with("iss", json!(foreign_pool)), "TOKEN_INVALID"),
        (
            "of an issuer that only looks alike",
            with("iss", json!(format!("{}/", cognito.issuer()))),
            "TOKEN_INVALID",
        ),
        ("signed by a stranger", cognito.sign(Signer::Foreign, &header, &claims), "TOKEN_INVALID"),
        ("signed by the pool's other key", cognito.sign(Signer::Id, &header, &claims), "TOKEN_INVALID"),
        ("edited", format!("{head}.{edited}.{signature}"), "TOKEN_INVALID"),
        (
            "with another's signature",
            format!("{head}.{body}.{}", cognito.access_token("bob").unwrap().rsplit('.').next().unwrap()),
            "TOKEN_INVALID",
        ),
        ("unsigned", format!("{}.{body}.", encoded(&json!({"alg": "none", "kid": "k"}))), "TOKEN_MALFORMED"),
        (
            "of algorithm none, signed",
            format!("{}.{body}.{signature}", encoded(&json!({"alg": "none", "kid": "k"}))),
            "TOKEN_MALFORMED",
        ),
        (
            "HS256 with the key's name",
            format!("{}.{body}.{signature}", encoded(&json!({"alg": "HS256", "kid": late["kid"]}))),
            "TOKEN_INVALID",
        ),
        ("with a critical extension", headed("crit", json!(["exp"])), "TOKEN_INVALID"),
        (
            "with a key of its own",
            headed("jwk", json!({"kty": "RSA", "n": "AQAB", "e": "AQAB"})),
            "TOKEN_INVALID",
        ),
        ("with a key's address", headed("jku", json!("http://127.0.0.1:1/")), "TOKEN_INVALID"),
        ("of a foreign type", headed("typ", json!("logout+jwt")), "TOKEN_WRONG_TYPE"),
        ("a refresh token", with("token_use", json!("refresh")), "TOKEN_WRONG_TYPE"),
        ("cut short", good[..good.len() - 10].to_owned(), "TOKEN_INVALID"),
        ("padded", format!("{good}="), "TOKEN_MALFORMED"),
        ("two dots short", "abc".to_owned(), "TOKEN_MALFORMED"),
        ("a JSON text", "{}".to_owned(), "TOKEN_MALFORMED"),
        ("too long", format!("{head}.{}.{signature}", "A".repeat(33 * 1024)), "TOKEN_MALFORMED"),
    ]
}

#[tokio::test]
async fn no_single_bit_of_a_token_can_be_flipped() {
    let app = App::start().await;
    let good = app.token("ada");
    // The last bit of each character suffices here; every bit of every byte is another issue's table.
    for at in 0..good.len() {
        let mut bytes = good.clone().into_bytes();
        bytes[at] ^= 1;
        let Ok(token) = String::from_utf8(bytes) else { continue };
        let status = app.by_token(&token).await.unwrap_err();
        // Another key's name may be a new key's.
        let renamed = at < good.find('.').unwrap() && failure(&status).1 == "KEYS_UNAVAILABLE";
        assert!(renamed || status.code() == Code::Unauthenticated, "byte {at}: {status:?}");
    }
    assert_eq!(app.lookups(), 0);
}

#[tokio::test]
async fn without_a_credential_only_a_named_network_gets_in() {
    let app = App::with(|config| config.callers.truncate(1)).await;
    assert_failure(app.by_sub(ADA).await, Code::Unauthenticated, "TOKEN_MISSING");
    let token = app.token("ada");
    for (authorization, reason) in [
        ("Basic YWRhOmFkYQ==".to_owned(), "TOKEN_MISSING"),
        ("Bearer ".to_owned(), "TOKEN_MISSING"),
        (format!("Bearer {token}, Bearer {token}"), "TOKEN_MALFORMED"),
        (token, "TOKEN_MALFORMED"),
    ] {
        let mut request = Request::new(GetUserRequest::default());
        request.metadata_mut().insert("authorization", authorization.parse().unwrap());
        assert_failure(app.ask(request).await, Code::Unauthenticated, reason);
    }
}

#[tokio::test]
async fn a_bad_credential_is_not_passed_over_for_the_network() {
    let app = App::start().await;
    let mut request = Request::new(GetUserRequest { sub: ADA.into(), ..GetUserRequest::default() });
    assert!(app.by_sub(ADA).await.is_ok());
    request.metadata_mut().insert("authorization", "Basic YWRhOmFkYQ==".parse().unwrap());
    assert_failure(app.ask(request).await, Code::Unauthenticated, "TOKEN_MISSING");
    let stale = bearing("a.b.c", GetUserRequest { sub: ADA.into(), ..GetUserRequest::default() });
    assert_failure(app.ask(stale).await, Code::Unauthenticated, "TOKEN_MALFORMED");
}

#[tokio::test]
async fn a_machines_token_is_nobodys() {
    let app = App::with(|config| {
        config.pools[0].app_clients.push("sandboxmachine000000000001".into());
    })
    .await;
    let machine = app.cognito.machine_token("sandboxmachine000000000001", &["user-lookup/read"]);
    assert_failure(app.by_token(&machine).await, Code::PermissionDenied, "CALLER_NOT_ALLOWED");
    let presented = GetUserRequest { access_token: machine, ..GetUserRequest::default() };
    assert_failure(app.ask(Request::new(presented)).await, Code::Unauthenticated, "TOKEN_WRONG_TYPE");
}

#[tokio::test]
async fn a_verified_client_without_a_rule_is_not_allowed() {
    let app = App::with(|config| {
        config.pools[0].app_clients.push("anotherclient".into());
    })
    .await;
    let mut claims = app.cognito.access_claims("ada").unwrap();
    claims["client_id"] = json!("anotherclient");
    let token = app.cognito.sign(Signer::Access, &app.cognito.header(Signer::Access), &claims);
    assert_failure(app.by_token(&token).await, Code::PermissionDenied, "CALLER_NOT_ALLOWED");
    assert_eq!(app.lookups(), 0);
}

#[tokio::test]
async fn the_largest_legal_token_passes_in_metadata() {
    let app = App::start().await;
    let mut claims = app.cognito.access_claims("ada").unwrap();
    claims["cognito:groups"] = (0..100).map(|n| format!("{n:0>128}")).collect();
    claims["scope"] = json!(vec!["resource-server/a-scope-of-some-length"; 50].join(" "));
    let token = app.cognito.sign(Signer::Access, &app.cognito.header(Signer::Access), &claims);
    assert!(token.len() > 20_000, "{}", token.len());
    assert_eq!(app.by_token(&token).await.unwrap().user.unwrap().sub, ADA);
}

#[tokio::test]
async fn tokens_of_one_pool_are_not_good_for_another() {
    let pool = Pool { id: "eu-west-1_Sandbox02".into(), ..Pool::sandbox() };
    let other = StandIn::start_with(pool, "127.0.0.1:0".parse().unwrap(), Keys::generate().unwrap()).unwrap();
    let app = App::start().await;
    assert_failure(
        app.by_token(&other.access_token("ada").unwrap()).await,
        Code::Unauthenticated,
        "TOKEN_INVALID",
    );
    // Signed by the other pool under this pool's issuer and key name.
    let token = other.sign(
        Signer::Access,
        &app.cognito.header(Signer::Access),
        &app.cognito.access_claims("ada").unwrap(),
    );
    assert_failure(app.by_token(&token).await, Code::Unauthenticated, "TOKEN_INVALID");
    assert_eq!((other.calls("jwks"), app.lookups()), (0, 0));
}

#[tokio::test]
async fn unknown_key_names_do_not_cause_fetches_in_the_cool_down() {
    let app = App::start().await;
    let claims = app.cognito.access_claims("ada").unwrap();
    for n in 0..500 {
        let token = app.cognito.sign(
            Signer::Foreign,
            &json!({"alg": "RS256", "kid": format!("unknown-{n}")}),
            &claims,
        );
        // It may be a new key's name, and nobody is to be logged out over that.
        assert_failure(app.by_token(&token).await, Code::Unavailable, "KEYS_UNAVAILABLE");
    }
    assert!(app.by_token(&app.token("ada")).await.is_ok());
    assert_eq!(app.cognito.calls("jwks"), 1, "the one at the start");
}

#[tokio::test]
async fn keys_that_come_late_make_the_server_serve() {
    let cognito = standin();
    cognito.fault("jwks", Fault::ServerError);
    let app = App::not_ready(cognito, |_| {}).await;
    app.cognito.reached("jwks", 1).await;
    let mut health = HealthClient::new(app.channel.clone());
    let told = health.check(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(told.status(), ServingStatus::NotServing);
    let token = app.token("ada");
    assert_failure(app.by_token(&token).await, Code::Unavailable, "KEYS_UNAVAILABLE");
    assert!(app.by_sub(ADA).await.is_ok(), "who needs no key is served");
    app.cognito.clear("jwks");
    app.healthy(ServingStatus::Serving).await;
    assert!(app.by_token(&token).await.is_ok());
}

#[tokio::test]
async fn known_keys_outlive_their_server() {
    let app = App::start().await;
    app.cognito.fault("jwks", Fault::Hang);
    for _ in 0..10 {
        assert!(app.by_token(&app.token("ada")).await.is_ok());
    }
    assert_eq!(app.cognito.calls("jwks"), 1);
    assert_eq!(app.cognito.pool().web_clients, [WEB]);
}

#[tokio::test]
async fn a_key_set_that_is_no_use_leaves_the_server_unready() {
    use cognito_lookup::sandbox::standin::Reply;
    // The keys themselves are good: all stand-ins of a process share them.
    let good = standin().jwks();
    for (case, reply) in [
        ("HTML", Reply::new(200, "text/html", "<html>")),
        ("no keys", Reply::json(200, &json!({"keys": []}))),
        ("too long", Reply::new(200, "application/json", format!("{good}{}", " ".repeat(64 * 1024)))),
        ("not the server's own", Reply::json(203, &good)),
        ("not found", Reply::json(404, &good)),
        ("elsewhere", Reply::json(302, &good).header("location", "http://127.0.0.1:1/")),
    ] {
        let cognito = standin();
        cognito.publish(reply);
        let app = App::not_ready(cognito, |_| {}).await;
        tokio::select! {
            () = app.cognito.reached("jwks", 2) => {}
            () = app.healthy(ServingStatus::Serving) => panic!("it serves: {case}"),
        }
        assert_failure(app.by_token(&app.token("ada")).await, Code::Unavailable, "KEYS_UNAVAILABLE");
    }
}

#[tokio::test]
async fn a_token_behind_the_message_is_no_credential() {
    let app = App::with(|config| config.callers.truncate(1)).await;
    let (response, mut body) = app.raw_call().await;
    // An empty message: not compressed, of no bytes.
    body.send_data(vec![0; 5].into(), false).unwrap();
    let mut trailers = http::HeaderMap::new();
    trailers.insert("authorization", format!("Bearer {}", app.token("ada")).parse().unwrap());
    body.send_trailers(trailers).unwrap();
    let response = response.await.unwrap();
    assert_eq!(response.headers()["grpc-status"], "16");
    assert_eq!(app.lookups(), 0);
}
