use std::time::{Duration, SystemTime};

use cognito_lookup::{
    config::{Config, EventCatchUp, EventsSettings, RevocationCause},
    proto::health::health_check_response::ServingStatus,
};
use cognito_standin::{Fault, StandIn};
use humantime::format_rfc3339_seconds;
use serde_json::{Value, json};
use tokio::time::Instant;
use tonic::Code;

use crate::{
    events::own_queue,
    support::{ADA, App, BOB, GRACE, assert_failure, standin},
};

/// The settings of a replica that is the only one.
fn settings(config: &mut Config, cognito: &StandIn) {
    config.events = EventsSettings {
        catch_up: EventCatchUp::Cloudtrail,
        cloudtrail_endpoint_url: Some(cognito.endpoint_url()),
        ..own_queue(cognito)
    };
}

async fn start(cognito: StandIn, change: impl FnOnce(&mut Config)) -> App {
    let mut events = Config::default();
    settings(&mut events, &cognito);
    let app = App::start_unready(cognito, move |config| {
        config.events = events.events;
        change(config);
    })
    .await;
    app.wait_for_health(ServingStatus::Serving).await;
    app
}

/// An event of so many seconds ago that the queue lost.
fn lost(cognito: &StandIn, operation: &str, sub: &str, seconds_ago: u64) {
    let mut event = cognito.event(operation, sub);
    let at = SystemTime::now() - Duration::from_secs(seconds_ago);
    event["detail"]["eventTime"] = json!(format_rfc3339_seconds(at).to_string());
    cognito.add_to_trail(&event);
}

fn hidden_sub(cognito: &StandIn) -> Value {
    let mut event = cognito.event("GlobalSignOut", GRACE);
    event["detail"]["additionalEventData"]["sub"] = json!("HIDDEN_DUE_TO_SECURITY_REASONS");
    event
}

const CAUGHT_UP: &str = "cognito_lookup_events_caught_up";

#[tokio::test]
async fn a_sign_out_that_the_service_missed_is_refused_from_the_first_call_on() {
    for catch_up in [EventCatchUp::Cloudtrail, EventCatchUp::Off] {
        let cognito = standin();
        let tokens = ["ada", "Google_1034567890"].map(|name| cognito.access_token(name).unwrap());
        for (user, operation) in [(ADA, "AdminUserGlobalSignOut"), (GRACE, "AdminUpdateUserAttributes")] {
            lost(&cognito, operation, user, 0);
        }
        cognito.add_to_trail(&hidden_sub(&cognito));
        let app = start(cognito, |config| config.events.catch_up = catch_up).await;
        let [ada, grace] = &tokens;
        if catch_up == EventCatchUp::Cloudtrail {
            assert_failure(app.get_by_token(ada).await, Code::Unauthenticated, "TOKEN_REVOKED");
            assert_eq!(app.cognito.calls("LookupEvents"), 5);
        } else {
            app.get_by_token(ada).await.unwrap();
            assert_eq!(app.cognito.calls("LookupEvents"), 0);
        }
        app.get_by_token(grace).await.unwrap();
        assert_eq!(app.metric(CAUGHT_UP).await, 1.0);
    }
}

#[tokio::test]
async fn all_pages_and_all_names_are_looked_up_as_far_back_as_a_token_lives() {
    let cognito = standin();
    let tokens = ["ada", "Google_1034567890"].map(|name| cognito.access_token(name).unwrap());
    // The oldest of three pages.
    lost(&cognito, "GlobalSignOut", ADA, 0);
    for n in 0..120 {
        lost(&cognito, "GlobalSignOut", &format!("unknown-{n}"), 0);
    }
    lost(&cognito, "DeleteUser", GRACE, 0);
    // Tokens live for an hour, so none is left that this is about.
    lost(&cognito, "AdminDisableUser", BOB, 7_200);
    let app = start(cognito, |config| config.revocation.token_lifetime = Duration::from_secs(3_600)).await;
    app.wait_for_metric(CAUGHT_UP, |value| value == 1.0).await;
    for token in &tokens {
        assert_failure(app.get_by_token(token).await, Code::Unauthenticated, "TOKEN_REVOKED");
    }
    assert_eq!(app.cognito.calls("LookupEvents"), 5 + 2);
    assert_eq!(app.metric("cognito_lookup_revocation_marks").await, 122.0);
    assert_eq!(app.metric("cognito_lookup_events_trail_calls_total{outcome=\"Answered\"}").await, 7.0);
}

#[tokio::test]
async fn only_the_changes_in_revocation_on_revoke() {
    let cognito = standin();
    let tokens = ["ada", "Google_1034567890"].map(|name| cognito.access_token(name).unwrap());
    lost(&cognito, "GlobalSignOut", ADA, 0);
    lost(&cognito, "AdminDisableUser", GRACE, 0);
    let app = start(cognito, |config| config.revocation.on = vec![RevocationCause::Disabled]).await;
    app.get_by_token(&tokens[0]).await.unwrap();
    assert_failure(app.get_by_token(&tokens[1]).await, Code::Unauthenticated, "TOKEN_REVOKED");
}

/// The start waits for 5 s, and the calls are repeated.
#[tokio::test]
async fn the_service_serves_while_cloudtrail_refuses() {
    let cognito = standin();
    let token = cognito.access_token("ada").unwrap();
    lost(&cognito, "GlobalSignOut", ADA, 0);
    cognito.inject("LookupEvents", Fault::Throttle);
    let begun = Instant::now();
    let app = start(cognito, |_| {}).await;
    assert!(begun.elapsed() >= Duration::from_secs(5), "{:?}", begun.elapsed());
    app.get_by_token(&token).await.unwrap();
    assert_eq!(app.metric(CAUGHT_UP).await, 0.0);
    assert!(app.metric("cognito_lookup_events_trail_calls_total{outcome=\"Failed\"}").await >= 2.0);
    app.cognito.clear_faults("LookupEvents");
    app.wait_for_metric(CAUGHT_UP, |value| value == 1.0).await;
    assert_failure(app.get_by_token(&token).await, Code::Unauthenticated, "TOKEN_REVOKED");
}

#[tokio::test]
async fn a_disabled_user_is_removed_if_it_may_be_cached() {
    let cognito = standin();
    let held = cognito.hold("LookupEvents");
    lost(&cognito, "AdminDisableUser", ADA, 0);
    let app = start(cognito, |_| {}).await;
    // Cached before the events are there: the start waits for 5 s only.
    app.get_by_sub(ADA).await.unwrap();
    let lookups = app.cognito_lookups();
    held.release();
    app.wait_for_metric(CAUGHT_UP, |value| value == 1.0).await;
    app.get_by_sub(ADA).await.unwrap();
    assert_eq!(app.cognito_lookups(), lookups + 1);
}
