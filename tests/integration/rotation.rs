use std::time::Duration;

use cognito_standin::{Fault, Keys, Pool, SigningKey, StandIn};
use serde_json::json;
use tokio::time::{Instant, sleep};
use tonic::{Code, Status};

use crate::{
    support::forged_tokens::TokenForger,
    support::{App, failure},
};

// The cool-down is ten seconds of the real clock, which a running server cannot be told to skip: these wait it out, for
// events.

#[tokio::test]
async fn a_key_that_is_replaced_ends_its_tokens_and_the_new_one_is_found_under_a_flood() {
    let app = rotating().await;
    let (old, other) = (app.token("ada"), app.cognito.id_token("ada").unwrap());
    // Known from now on.
    assert!(app.get_by_token(&old).await.is_ok());
    app.cognito.rotate_access_key().unwrap();
    let new = app.token("ada");
    assert_eq!(refused(&app, &new).await, unavailable(), "A73: the cool-down of the fetch at the start");
    let (mut flood, mut answered) = (0, 0);
    while app.cognito.calls("jwks") < 2 {
        let token = unknown(&app, flood);
        let (bad, good) = tokio::join!(app.get_by_token(&token), app.get_by_token(&old));
        // The last of them may have waited for the fetch that it caused.
        let reason = failure(&bad.unwrap_err()).1;
        assert!(reason == "KEYS_UNAVAILABLE" || app.cognito.calls("jwks") == 2, "A71: {reason}");
        if good.is_err() {
            break;
        }
        (flood, answered) = (flood + 1, answered + 1);
        sleep(Duration::from_millis(2)).await;
    }
    let gap = app.cognito.call_times("jwks");
    assert!(gap.len() == 2 && gap[1] - gap[0] >= Duration::from_secs(10), "A71: {gap:?}");
    assert!(answered > 100, "A71: only {answered} good tokens beside {flood} bad ones");
    taken_soon(&app, &new).await;
    // By the key that is no more, warm as it was; its name may be a new one's until the next fetch.
    assert_eq!(refused(&app, &old).await, unavailable(), "A74 A117 (c)");
    assert_eq!(refused(&app, &other).await, (Code::Unauthenticated, "ID_TOKEN_REFUSED".to_owned()));
    assert_eq!(app.cognito.calls("jwks"), 2);
}

#[tokio::test]
async fn a_name_that_no_fetch_explains_is_invalid_and_one_that_a_failed_fetch_leaves_open_is_not() {
    let app = rotating().await;
    let old = app.token("ada");
    assert!(app.get_by_token(&old).await.is_ok());
    assert_eq!(until_asked(&app, 2).await, (Code::Unauthenticated, "TOKEN_INVALID".to_owned()), "A70");
    app.cognito.inject("jwks", Fault::ServerError);
    assert_eq!(until_asked(&app, 3).await, unavailable(), "A72");
    assert!(
        app.get_by_token(&old).await.is_ok() && app.get_by_token(&app.token("ada")).await.is_ok(),
        "A75: the last good set"
    );
    assert_eq!(app.cognito.calls("jwks"), 3);
}

#[tokio::test]
async fn another_key_under_the_same_name_ends_the_tokens_of_the_first() {
    let app = rotating().await;
    let old = app.token("ada");
    assert!(app.get_by_token(&old).await.is_ok());
    // The same name, another key.
    let stranger = TokenForger::with_key(&app.cognito, SigningKey::Unpublished);
    let kid = app.cognito.kid(SigningKey::Access);
    let set = json!({"keys": [stranger.jwk(&kid)]});
    app.cognito.replace_jwks(cognito_standin::HttpResponse::json(200, &set));
    until_asked(&app, 2).await;
    let claims = app.cognito.access_claims("ada").unwrap().to_string();
    taken_soon(&app, &stranger.token(app.cognito.header(SigningKey::Access).to_string(), claims)).await;
    assert_eq!(refused(&app, &old).await, (Code::Unauthenticated, "TOKEN_INVALID".to_owned()));
}

/// A server before a stand-in with keys of its own, for those that all share must not be replaced.
async fn rotating() -> App {
    let address = "127.0.0.1:0".parse().unwrap();
    let cognito = StandIn::start_with_keys(Pool::sandbox(), address, Keys::generate().unwrap()).unwrap();
    let app = App::start_unready(cognito, |_| {}).await;
    app.wait_until_ready().await;
    app
}

/// A sound token by a key that no set has.
fn unknown(app: &App, n: usize) -> String {
    let claims = app.cognito.access_claims("ada").unwrap();
    app.cognito.sign(
        SigningKey::Unpublished,
        &json!({"alg": "RS256", "kid": format!("unknown-{n}")}),
        &claims,
    )
}

async fn refused(app: &App, token: &str) -> (Code, String) {
    failure(&app.get_by_token(token).await.unwrap_err())
}

/// Shows unknown names until the keys have been asked for so often, and returns what the one was told that waited.
async fn until_asked(app: &App, fetches: usize) -> (Code, String) {
    let begun = Instant::now();
    loop {
        let before = app.cognito.calls("jwks");
        let told = refused(app, &unknown(app, 0)).await;
        if app.cognito.calls("jwks") == fetches {
            assert_eq!(before, fetches - 1);
            return told;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "nobody asks");
        sleep(Duration::from_millis(20)).await;
    }
}

/// The fetch that brings the key has begun.
async fn taken_soon(app: &App, token: &str) {
    app.cognito.wait_until_idle("jwks").await;
    let begun = Instant::now();
    let still_unknown =
        |status: &Status| failure(status) == unavailable() || failure(status).1 == "TOKEN_INVALID";
    while let Err(status) = app.get_by_token(token).await {
        assert!(still_unknown(&status) && begun.elapsed() < Duration::from_secs(5), "{status:?}");
    }
}

fn unavailable() -> (Code, String) {
    (Code::Unavailable, "KEYS_UNAVAILABLE".to_owned())
}
