use std::time::Duration;

use cognito_lookup::{
    config::{AwsCredentials, Config, EventScope, EventsSettings, RevocationCause},
    proto::{GetUserRequest, GetUserResponse, Source, health::health_check_response::ServingStatus},
};
use cognito_standin::{SigningKey, StandIn};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use tonic::Code;

use crate::{
    audit::Trail,
    support::{ADA, App, BOB, assert_failure, aws::call, process::Process, source, standin, with_token},
};

/// Returns the settings of a replica that is the only one.
pub(crate) fn own_queue(cognito: &StandIn) -> EventsSettings {
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
    app_with(|_| {}).await
}

async fn app_with(change: impl FnOnce(&mut Config)) -> App {
    let cognito = standin();
    let events = own_queue(&cognito);
    let set = move |config: &mut Config| {
        config.events = events;
        change(config);
    };
    let app = App::start_unready(cognito, set).await;
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
        (event("DeleteGroup"), "DeleteGroup", "Applied"),
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
        let is_repeated = ["DeleteGroup"].contains(&event);
        app.wait_for_outcome(event, outcome, if is_repeated { 1.0 } else { 2.0 }).await;
    }
    for text in ["", "{", "null", r#"{"detail": 1}"#] {
        app.cognito.send_message(text);
    }
    app.wait_for_outcome("other", "Malformed", 4.0).await;
    assert_eq!((app.cognito_lookups(), app.cognito.calls("AdminListGroupsForUser")), (lookups, 0));
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

#[tokio::test]
async fn a_new_password_ends_the_tokens_only_if_the_settings_say_so() {
    for revokes in [false, true] {
        let app = app_with(|config| {
            if revokes {
                config.revocation.on.push(RevocationCause::Password);
            }
        })
        .await;
        let token = app.token("ada");
        app.get_by_token(&token).await.unwrap();
        let password = json!({"Username": "ada", "Password": "Another-1", "Permanent": true});
        call(&app.cognito, "AdminSetUserPassword", password).await;
        app.wait_for_outcome("AdminSetUserPassword", "Applied", 1.0).await;
        let answer = app.get_by_token(&token).await;
        if revokes {
            assert_failure(answer, Code::Unauthenticated, "TOKEN_REVOKED");
        } else {
            answer.unwrap();
        }
    }
}

#[tokio::test]
async fn a_change_of_groups_ends_the_belief_in_those_of_an_older_token() {
    let app = app_with(|config| config.callers[0].groups = true).await;
    let mut claims = app.cognito.access_claims("ada").unwrap();
    claims["iat"] = json!(claims["iat"].as_i64().unwrap() - 10);
    let token = app.cognito.sign(SigningKey::Access, &app.cognito.header(SigningKey::Access), &claims);
    let groups = async || {
        let request =
            with_token(&token, GetUserRequest { include_groups: true, ..GetUserRequest::default() });
        app.get_user(request).await.unwrap().user.unwrap().groups
    };
    assert_eq!(groups().await, ["engineers"]);
    assert_eq!(app.cognito.calls("AdminListGroupsForUser"), 0, "the token has them");
    call(&app.cognito, "AdminRemoveUserFromGroup", json!({"Username": "ada", "GroupName": "engineers"}))
        .await;
    app.wait_for_outcome("AdminRemoveUserFromGroup", "Applied", 1.0).await;
    assert!(groups().await.is_empty());
    assert!(groups().await.is_empty());
    assert_eq!(app.cognito.calls("AdminListGroupsForUser"), 1, "they are cached");
}

#[tokio::test]
async fn an_erasure_by_an_event_has_an_audit_record() {
    let trail = Trail::new();
    let mut app = app_with(trail.set(|_| {})).await;
    app.get_by_token(&app.token("ada")).await.unwrap();
    call(&app.cognito, "AdminDeleteUser", json!({"Username": "ada"})).await;
    app.wait_for_outcome("AdminDeleteUser", "Applied", 1.0).await;
    app.stop();
    app.wait_until_stopped().await;
    let records = trail.records();
    // Each thread has a queue of its own, so they may be in either order.
    let of = |is_read: bool| records.iter().find(|record| (record["caller"] == "web") == is_read).unwrap();
    let (read, erased) = (of(true), of(false));
    assert_eq!(records.len(), 2, "{records:#?}");
    assert_eq!((&erased["method"], &erased["caller"]), (&json!("AdminDeleteUser"), &Value::Null));
    assert_eq!((&erased["outcome"], &erased["entries"]), (&json!("answered"), &json!(1)));
    assert_eq!((&erased["verdicts"], &erased["sub_hash"]), (&json!(1), &read["sub_hash"]));
    assert_eq!(erased["receipt_id"].as_str().unwrap().len(), 36);
}

/// A record that is required and cannot be written keeps the message.
#[tokio::test]
async fn an_erasure_whose_required_record_is_lost_is_tried_again() {
    let trail = Trail::new();
    let app = app_with(trail.set(|config| {
        config.audit.required = true;
        config.audit.max_bytes = 0;
    }))
    .await;
    app.cognito.send_message(app.cognito.event("DeleteUser", ADA).to_string());
    app.wait_for_outcome("DeleteUser", "Retried", 1.0).await;
    assert_eq!(app.cognito.messages(), 1);
}

#[tokio::test]
async fn a_server_that_stops_receives_no_more() {
    let mut app = app_with(|config| config.shutdown.delay = Duration::from_secs(2)).await;
    app.cognito.wait_for_calls("ReceiveMessage", 1).await;
    app.stop();
    app.wait_for_health(ServingStatus::NotServing).await;
    app.cognito.wait_until_idle("ReceiveMessage").await;
    let receives = app.cognito.calls("ReceiveMessage");
    app.cognito.send_message(app.cognito.event("UpdateUserAttributes", ADA).to_string());
    let stopping = Instant::now();
    let cognito = app.wait_until_stopped().await;
    assert!(stopping.elapsed() > Duration::from_secs(1), "calls were served meanwhile");
    assert_eq!(
        (cognito.calls("ReceiveMessage"), cognito.messages()),
        (receives, 1),
        "another replica gets it"
    );
}

/// With everything that a message can have wrong, at the most verbose level.
#[tokio::test]
async fn no_message_leaves_anything_personal_in_the_log() {
    let cognito = standin();
    let settings = format!(
        "listen = \"127.0.0.1:0\"\nworkers = 1\n[events]\nqueue_url = {:?}\nregion = \"eu-west-1\"\n\
         endpoint_url = {:?}\nscope = \"own\"",
        cognito.queue_url(),
        cognito.endpoint_url()
    );
    let process = Process::serve(&cognito, &settings);
    let odd = "0dd00000-5a4d-4b0c-8000-00000000c0de";
    let mut sent: Vec<String> = messages_about(&cognito, odd).map(|message| message.to_string()).collect();
    sent.extend(sent.clone().iter().map(|message| message[..message.len() - 5].to_owned()));
    sent.push(format!("{{\"detail\": \"{odd}\"}}"));
    sent.iter().for_each(|message| cognito.send_message(message));
    // Twice what is received at once, so that the last of them was handled.
    for _ in 0..2 {
        cognito.send_message(cognito.event("AdminInitiateAuth", "the-last-one").to_string());
    }
    // The second half is no event, and neither is the one whose time is none.
    let left_for_the_dead_letter_queue = sent.len() / 2 + 2;
    while cognito.messages() > left_for_the_dead_letter_queue {
        sleep(Duration::from_millis(20)).await;
    }
    process.signal("TERM");
    let (code, log) = process.failed();
    assert_eq!(code, Some(0));
    let text: String = log.iter().map(|line| line.to_string() + "\n").collect();
    assert!(text.contains("is no event") && text.contains("AdminInitiateAuth"), "{text}");
    for personal in [odd, "the-last-one", "evil"] {
        assert!(!text.contains(personal), "{personal} is in the log");
    }
}

/// Messages about a user that each have another flaw, or none.
fn messages_about(cognito: &StandIn, sub: &str) -> impl Iterator<Item = Value> {
    let edited = move |pointer: &str, key: &str, value: Value| {
        let mut event = cognito.event("AdminUpdateUserAttributes", sub);
        event.pointer_mut(pointer).unwrap()[key] = value;
        event
    };
    let parameters = "/detail/requestParameters";
    [
        cognito.event("AdminUpdateUserAttributes", sub),
        cognito.event("AdminDeleteUser", sub),
        cognito.event("GlobalSignOut", sub),
        cognito.event("AdminAddUserToGroup", sub),
        edited(parameters, "username", json!(sub)),
        edited(parameters, "userPoolId", json!("eu-west-1_Another1")),
        edited("/detail", "eventName", json!(format!("evil-{sub}"))),
        edited("/detail", "errorCode", json!(sub)),
        edited("/detail", "eventTime", json!(sub)),
        edited("/detail", "awsRegion", json!(sub)),
        edited("/detail/additionalEventData", "sub", json!(format!("{sub}\u{0}evil"))),
        edited("/detail/additionalEventData", "sub", json!([sub])),
    ]
    .into_iter()
}
