use std::time::Duration;

use cognito_lookup::{proto::GetUserRequest, users::Invalidation};
use cognito_standin::SigningKey;
use serde_json::json;
use tokio::time::Instant;
use tonic::{Code, Request};

use crate::support::{App, Components, assert_failure, failure, metric_of};

#[tokio::test]
async fn a_token_is_verified_once() {
    let app = App::start().await;
    let (ada, grace) = (app.token("ada"), app.token("Google_1034567890"));
    for (token, hits, misses) in [(&ada, 0.0, 1.0), (&ada, 1.0, 1.0), (&grace, 1.0, 2.0), (&ada, 2.0, 2.0)] {
        assert!(app.get_by_token(token).await.is_ok());
        assert_eq!((app.metric(HITS).await, app.metric(MISSES).await), (hits, misses));
    }
    let presented = GetUserRequest { access_token: ada, ..GetUserRequest::default() };
    assert!(app.get_user(Request::new(presented)).await.is_ok(), "in the field too");
    assert_eq!((app.metric(HITS).await, app.metric(ENTRIES).await), (3.0, 2.0));
}

#[tokio::test]
async fn refused_tokens_are_not_cached() {
    let app = App::start().await;
    let mut claims = app.cognito.access_claims("ada").unwrap();
    claims["client_id"] = json!("anotherclient");
    let token = app.cognito.sign(SigningKey::Access, &app.cognito.header(SigningKey::Access), &claims);
    for _ in 0..3 {
        assert_failure(app.get_by_token(&token).await, Code::Unauthenticated, "TOKEN_INVALID");
    }
    assert_eq!(
        (app.metric(HITS).await, app.metric(MISSES).await, app.metric(ENTRIES).await),
        (0.0, 3.0, 0.0)
    );
}

#[tokio::test]
async fn a_cached_token_expires_with_its_exp() {
    let app = App::start().await;
    let mut claims = app.cognito.access_claims("ada").unwrap();
    // With the leeway of 10 s, the token is valid for two to three more seconds.
    claims["exp"] = json!(claims["iat"].as_u64().unwrap() - 7);
    let token = app.cognito.sign(SigningKey::Access, &app.cognito.header(SigningKey::Access), &claims);
    let mut accepted = 0;
    let begun = Instant::now();
    let refused = loop {
        match app.get_by_token(&token).await {
            Ok(_) => accepted += 1,
            Err(refused) => break refused,
        }
        assert!(begun.elapsed() < Duration::from_secs(5), "{accepted} times");
    };
    assert_eq!(failure(&refused), (Code::Unauthenticated, "TOKEN_EXPIRED".to_owned()));
    assert!(accepted > 1);
    assert_eq!((app.metric(HITS).await, app.metric(MISSES).await), (f64::from(accepted - 1), 2.0));
}

#[tokio::test]
async fn the_tokens_of_one_user_can_be_erased() {
    let parts = Components::start().await;
    let [ada, again, bob] = ["ada", "ada", "bob"].map(|name| parts.cognito.access_token(name).unwrap());
    for token in [&ada, &again, &bob, &bob] {
        parts.authenticated(token).await;
    }
    let person = |name| parts.cognito.user(name).unwrap().sub;
    let pool = parts.cognito.pool_id().parse().unwrap();
    for (name, known) in [("ada", 2), ("ada", 0), ("Google_1034567890", 0)] {
        let erased = parts.users.invalidate(&pool, &person(name).parse().unwrap(), Invalidation::Erase).await;
        assert_eq!(erased.unwrap().tokens, known, "{name}");
    }
    assert_eq!(metric_of(&parts.metrics, ENTRIES), 1.0);
    for token in [&ada, &bob] {
        parts.authenticated(token).await;
    }
    assert_eq!((metric_of(&parts.metrics, HITS), metric_of(&parts.metrics, MISSES)), (2.0, 4.0));
}

pub(crate) const HITS: &str = "cognito_lookup_verdict_cache_requests_total{result=\"Hit\"}";
const MISSES: &str = "cognito_lookup_verdict_cache_requests_total{result=\"Miss\"}";
pub(crate) const ENTRIES: &str = "cognito_lookup_verdict_cache_entries";
