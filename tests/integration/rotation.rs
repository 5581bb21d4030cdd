use std::time::Duration;

use cognito_standin::{Fault, Keys, Pool, SigningKey, StandIn};
use serde_json::json;
use tokio::time::{Instant, sleep};
use tonic::{Code, Status};

use crate::{
    support::forged_tokens::TokenForger,
    support::{App, failure},
};

// The cool-down between fetches is ten seconds of the real clock. These tests wait for it, by
// events.

#[tokio::test]
async fn a_rotated_key_is_replaced_under_a_flood_of_unknown_keys() {
    let app = app_with_own_keys().await;
    let (old, other) = (app.token("ada"), app.cognito.id_token("ada").unwrap());
    // Cache the verified token.
    assert!(app.get_by_token(&old).await.is_ok());
    app.cognito.rotate_access_key().unwrap();
    let new = app.token("ada");
    assert_eq!(
        rejection(&app, &new).await,
        keys_unavailable(),
        "A73: the cool-down of the fetch at the start"
    );
    let (mut flood, mut good_tokens) = (0, 0);
    while app.cognito.calls("jwks") < 2 {
        let token = token_of_unknown_key(&app, flood);
        let (bad, good) = tokio::join!(app.get_by_token(&token), app.get_by_token(&old));
        // The last one may have waited for the fetch that it caused.
        let reason = failure(&bad.unwrap_err()).1;
        assert!(reason == "KEYS_UNAVAILABLE" || app.cognito.calls("jwks") == 2, "A71: {reason}");
        if good.is_err() {
            break;
        }
        (flood, good_tokens) = (flood + 1, good_tokens + 1);
        sleep(Duration::from_millis(2)).await;
    }
    let fetch_times = app.cognito.call_times("jwks");
    assert!(
        fetch_times.len() == 2 && fetch_times[1] - fetch_times[0] >= Duration::from_secs(10),
        "A71: {fetch_times:?}"
    );
    assert!(good_tokens > 100, "A71: only {good_tokens} good tokens and {flood} bad ones");
    wait_until_accepted(&app, &new).await;
    // The cached token of the removed key. Its key id may be that of a new key until the next
    // fetch.
    assert_eq!(rejection(&app, &old).await, keys_unavailable(), "A74 A117 (c)");
    assert_eq!(rejection(&app, &other).await, (Code::Unauthenticated, "ID_TOKEN_REFUSED".to_owned()));
    assert_eq!(app.cognito.calls("jwks"), 2);
}

#[tokio::test]
async fn an_unknown_key_id_is_invalid_after_a_fetch_and_unavailable_after_a_failed_one() {
    let app = app_with_own_keys().await;
    let old = app.token("ada");
    assert!(app.get_by_token(&old).await.is_ok());
    assert_eq!(
        rejection_after_fetch(&app, 2).await,
        (Code::Unauthenticated, "TOKEN_INVALID".to_owned()),
        "A70"
    );
    app.cognito.inject("jwks", Fault::ServerError);
    assert_eq!(rejection_after_fetch(&app, 3).await, keys_unavailable(), "A72");
    assert!(
        app.get_by_token(&old).await.is_ok() && app.get_by_token(&app.token("ada")).await.is_ok(),
        "A75: the last good set"
    );
    assert_eq!(app.cognito.calls("jwks"), 3);
}

#[tokio::test]
async fn another_key_under_the_same_id_invalidates_the_tokens_of_the_first() {
    let app = app_with_own_keys().await;
    let old = app.token("ada");
    assert!(app.get_by_token(&old).await.is_ok());
    // The same key id, another key.
    let unpublished = TokenForger::with_key(&app.cognito, SigningKey::Unpublished);
    let kid = app.cognito.kid(SigningKey::Access);
    let set = json!({"keys": [unpublished.jwk(&kid)]});
    app.cognito.replace_jwks(cognito_standin::HttpResponse::json(200, &set));
    rejection_after_fetch(&app, 2).await;
    let claims = app.cognito.access_claims("ada").unwrap().to_string();
    wait_until_accepted(&app, &unpublished.token(app.cognito.header(SigningKey::Access).to_string(), claims))
        .await;
    assert_eq!(rejection(&app, &old).await, (Code::Unauthenticated, "TOKEN_INVALID".to_owned()));
}

/// Starts a server whose stand-in has its own keys, because the shared ones must not be replaced.
async fn app_with_own_keys() -> App {
    let address = "127.0.0.1:0".parse().unwrap();
    let cognito = StandIn::start_with_keys(Pool::sandbox(), address, Keys::generate().unwrap()).unwrap();
    let app = App::start_unready(cognito, |_| {}).await;
    app.wait_until_ready().await;
    app
}

/// Signs a valid token with a key that no JWKS has.
fn token_of_unknown_key(app: &App, n: usize) -> String {
    let claims = app.cognito.access_claims("ada").unwrap();
    app.cognito.sign(
        SigningKey::Unpublished,
        &json!({"alg": "RS256", "kid": format!("unknown-{n}")}),
        &claims,
    )
}

async fn rejection(app: &App, token: &str) -> (Code, String) {
    failure(&app.get_by_token(token).await.unwrap_err())
}

/// Sends tokens of unknown keys until the keys have been fetched `fetches` times. Returns how the
/// token that waited for the last fetch was rejected.
async fn rejection_after_fetch(app: &App, fetches: usize) -> (Code, String) {
    let start = Instant::now();
    loop {
        let before = app.cognito.calls("jwks");
        let rejection_now = rejection(app, &token_of_unknown_key(app, 0)).await;
        if app.cognito.calls("jwks") == fetches {
            assert_eq!(before, fetches - 1);
            return rejection_now;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "the keys are not fetched");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until a token is accepted whose key the fetch in flight brings.
async fn wait_until_accepted(app: &App, token: &str) {
    app.cognito.wait_until_idle("jwks").await;
    let start = Instant::now();
    let still_unknown =
        |status: &Status| failure(status) == keys_unavailable() || failure(status).1 == "TOKEN_INVALID";
    while let Err(status) = app.get_by_token(token).await {
        assert!(still_unknown(&status) && start.elapsed() < Duration::from_secs(5), "{status:?}");
    }
}

fn keys_unavailable() -> (Code, String) {
    (Code::Unavailable, "KEYS_UNAVAILABLE".to_owned())
}
