use std::time::Duration;

use cognito_lookup::{
    config::{AwsCredentials, EventScope, EventsSettings},
    proto::{GetUserResponse, Source, health::health_check_response::ServingStatus},
};
use cognito_standin::StandIn;
use serde_json::{Value, json};
use tokio::time::sleep;
use tonic::Code;

use crate::support::{ADA, App, BOB, assert_failure, source, standin};

/// Settings of a replica that is the only one.
fn own_queue(cognito: &StandIn) -> EventsSettings {
    EventsSettings {
        queue_url: Some(cognito.queue_url()),
        region: Some("eu-west-1".to_owned()),
        endpoint_url: Some(cognito.endpoint_url()),
        scope: EventScope::Own,
        credentials: AwsCredentials::Placeholder,
        ..EventsSettings::default()
    }
}

async fn app() -> App {
    let cognito = standin();
    let events = own_queue(&cognito);
    let app = App::start_unready(cognito, move |config| config.events = events).await;
    app.wait_for_health(ServingStatus::Serving).await;
    app
}

impl App {
    async fn wait_for_outcome(&self, event: &str, outcome: &str, count: f64) {
        let series = format!("cognito_lookup_events_total{{event=\"{event}\",outcome=\"{outcome}\"}}");
        self.wait_for_metric(&series, |value| value >= count).await;
    }

    async fn wait_until_queue_is_empty(&self) {
        for _ in 0..6_000 {
            if self.cognito.messages() == 0 {
                return;
            }
            sleep(Duration::from_millis(5)).await;
        }
        panic!("{} messages are left", self.cognito.messages());
    }
}

#[tokio::test]
async fn a_change_is_seen_without_max_age() {
    let app = app().await;
    let name = |answer: &GetUserResponse| answer.user.as_ref().unwrap().attributes["name"].clone();
    let before = app.get_by_sub(ADA).await.unwrap();
    app.cognito
        .update_user("ada", |ada| {
            ada.attributes.insert("name".to_owned(), "Changed".to_owned());
        })
        .unwrap();
    // Without its event, the change is hidden by the cache.
    assert_eq!(name(&app.get_by_sub(ADA).await.unwrap()), name(&before));
    app.cognito.send_message(app.cognito.event("AdminUpdateUserAttributes", ADA).to_string());
    app.wait_for_outcome("AdminUpdateUserAttributes", "Applied", 1.0).await;
    assert_eq!(name(&app.get_by_sub(ADA).await.unwrap()), "Changed");
    app.wait_until_queue_is_empty().await;
    assert!(app.metric("cognito_lookup_events_last_timestamp_seconds").await > 0.0);
    assert!(app.metric("cognito_lookup_events_polled_timestamp_seconds").await > 0.0);
}

/// Each message, with its name and its outcome. None of them is about a user that is cached.
fn messages(cognito: &StandIn) -> Vec<(Value, &'static str, &'static str)> {
    let event = |name: &str| cognito.event(name, BOB);
    let edited = |pointer: &str, key: &str, value: Value| {
        let mut event = event("AdminUpdateUserAttributes");
        event.pointer_mut(pointer).unwrap()[key] = value;
        event
    };
    let name = "AdminUpdateUserAttributes";
    let hidden = json!("HIDDEN_DUE_TO_SECURITY_REASONS");
    let own = |change: &str| {
        let detail = json!({"userPoolId": cognito.pool_id(), "sub": BOB, "change": change, "time": "2026-01-01T00:00:00Z"});
        json!({"detail-type": "User Change", "source": "app", "detail": detail})
    };
    vec![
        (event(name), name, "Applied"),
        (event("UpdateUserAttributes"), "UpdateUserAttributes", "Applied"),
        (event("DeleteUser"), "DeleteUser", "Applied"),
        (event("AdminDisableUser"), "AdminDisableUser", "Applied"),
        (own("ATTRIBUTES"), "UserChange", "Applied"),
        (event("GlobalSignOut"), "GlobalSignOut", "Applied"),
        (event("RevokeToken"), "RevokeToken", "Unused"),
        (event("DeleteGroup"), "DeleteGroup", "Unused"),
        (event("AdminInitiateAuth"), "other", "Unknown"),
        (edited("/detail", "errorCode", json!("NotAuthorizedException")), name, "Failed"),
        (edited("/detail/additionalEventData", "sub", hidden), name, "NoSubject"),
        (edited("/detail/requestParameters", "userPoolId", json!("eu-west-1_Another1")), name, "Foreign"),
        (edited("/detail", "eventSource", json!("sts.amazonaws.com")), "other", "Foreign"),
        (own("SOMETHING"), "UserChange", "Malformed"),
    ]
}

#[tokio::test]
async fn each_message_has_its_outcome_and_causes_no_call_to_cognito() {
    let app = app().await;
    app.get_by_sub(ADA).await.unwrap();
    let lookups = app.cognito_lookups();
    for (message, event, outcome) in messages(&app.cognito) {
        // Each comes twice.
        for _ in 0..2 {
            app.cognito.send_message(message.to_string());
        }
        app.wait_for_outcome(event, outcome, 2.0).await;
    }
    for text in ["", "{", "null", r#"{"detail": 1}"#] {
        app.cognito.send_message(text);
    }
    app.wait_for_outcome("other", "Malformed", 4.0).await;
    assert_eq!(app.cognito_lookups(), lookups);
    assert_eq!(source(&app.get_by_sub(ADA).await.unwrap()), Source::Cache, "nobody else is invalidated");
    // The malformed ones are left for the dead-letter queue.
    assert_eq!(app.cognito.messages(), 2 + 4);
}

#[tokio::test]
async fn a_flood_of_messages_about_unknown_users_leaves_the_others_cached() {
    let app = app().await;
    app.get_by_sub(ADA).await.unwrap();
    let lookups = app.cognito_lookups();
    for n in 0..2_000 {
        let sub = format!("unknown-{n}");
        app.cognito.send_message(app.cognito.event("UpdateUserAttributes", &sub).to_string());
    }
    app.wait_for_outcome("UpdateUserAttributes", "Applied", 2_000.0).await;
    app.wait_until_queue_is_empty().await;
    assert_eq!(app.cognito_lookups(), lookups);
    assert_eq!(source(&app.get_by_sub(ADA).await.unwrap()), Source::Cache);
}

#[tokio::test]
async fn an_event_from_before_the_last_fetch_changes_nothing() {
    let app = app().await;
    app.get_by_sub(ADA).await.unwrap();
    let mut event = app.cognito.event("AdminUpdateUserAttributes", ADA);
    event["detail"]["eventTime"] = json!("2026-01-01T00:00:00Z");
    app.cognito.send_message(event.to_string());
    app.wait_for_outcome("AdminUpdateUserAttributes", "Late", 1.0).await;
    assert_eq!(source(&app.get_by_sub(ADA).await.unwrap()), Source::Cache);
}

#[tokio::test]
async fn the_service_is_ready_while_the_queue_refuses() {
    let cognito = standin();
    let events = EventsSettings { queue_url: Some(cognito.queue_url() + "-gone"), ..own_queue(&cognito) };
    let app = App::start_unready(cognito, move |config| config.events = events).await;
    app.wait_until_ready().await;
    app.wait_for_metric("cognito_lookup_events_polls_total{outcome=\"Failed\"}", |failed| failed >= 1.0)
        .await;
    assert!(app.get_by_sub(ADA).await.is_ok());
}

#[tokio::test]
async fn a_sign_out_ends_the_tokens_issued_before_it() {
    let app = app().await;
    let token = app.token("ada");
    app.get_by_token(&token).await.unwrap();
    app.cognito.send_message(app.cognito.event("AdminUserGlobalSignOut", ADA).to_string());
    app.wait_for_outcome("AdminUserGlobalSignOut", "Applied", 1.0).await;
    assert_failure(app.get_by_token(&token).await, Code::Unauthenticated, "TOKEN_REVOKED");
    assert_eq!(source(&app.get_by_sub(ADA).await.unwrap()), Source::Cache, "the user stays");
}
