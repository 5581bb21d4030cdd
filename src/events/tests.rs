//! The message table: for every kind of message, what it says.

use std::time::{Duration, SystemTime};

use cognito_standin::{Pool, StandIn};
use humantime::parse_rfc3339;
use serde_json::{Value, json};

use super::{
    names::{DELETE_GROUP, EVENTS, answers_challenge},
    *,
};

const POOL: &str = "eu-west-1_AbCdEfGhI";
const SUB: &str = "6ad2c1e4-5a4d-4b0c-8000-000000000009";
const TIME: &str = "2026-11-29T10:00:00Z";
const HIDDEN: &str = "HIDDEN_DUE_TO_SECURITY_REASONS";

fn time() -> SystemTime {
    parse_rfc3339(TIME).unwrap()
}

fn read(body: &str) -> Result<Change, Ignored> {
    parse(body, time(), |pool| pool.as_str() == POOL)
}

fn reason(event: &Value) -> Reason {
    read(&event.to_string()).expect_err("ignored").reason
}

/// The event of a call by an administrator.
fn admin(name: &str) -> Value {
    let parameters =
        json!({"userPoolId": POOL, "username": HIDDEN, "challengeName": "NEW_PASSWORD_REQUIRED"});
    event(name, &parameters)
}

/// The event of a call by a user.
fn own(name: &str) -> Value {
    event(name, &json!({"userAttributes": HIDDEN, "accessToken": HIDDEN}))
}

fn event(name: &str, parameters: &Value) -> Value {
    json!({
        "version": "0", "id": "1", "detail-type": "AWS API Call via CloudTrail", "source": "aws.cognito-idp",
        "account": "123456789012", "time": TIME, "region": "eu-west-1", "resources": [],
        "detail": {
            "eventVersion": "1.11", "eventTime": TIME, "eventSource": "cognito-idp.amazonaws.com",
            "eventName": name, "awsRegion": "eu-west-1", "requestParameters": parameters,
            "responseElements": null, "additionalEventData": {"sub": SUB}, "eventID": "2", "readOnly": false,
            "eventType": "AwsApiCall", "managementEvent": true,
        },
    })
}

fn user_change() -> Value {
    let detail = json!({"userPoolId": POOL, "sub": SUB, "change": "ATTRIBUTES", "time": TIME});
    json!({"detail-type": "User Change", "detail": detail})
}

/// Replaces what the JSON pointer finds.
fn with(mut event: Value, pointer: &str, value: Value) -> Value {
    *event.pointer_mut(pointer).unwrap_or_else(|| panic!("no {pointer}")) = value;
    event
}

fn without(mut event: Value, parent: &str, name: &str) -> Value {
    event.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(name);
    event
}

fn changed(kind: ChangeKind, event: &'static str) -> Change {
    let subject = Subject::User(SUB.parse().unwrap());
    Change { event, kind, subject, pools: ChangedPools::One(POOL.parse().unwrap()), at: time() }
}

#[test]
fn every_name_of_the_table_is_a_change_of_its_kind() {
    for (name, kind) in EVENTS {
        let mut expected = changed(kind, name);
        if name == DELETE_GROUP {
            expected.subject = Subject::GroupMembers;
        }
        assert_eq!(read(&admin(name).to_string()), Ok(expected), "{name}");
    }
}

#[test]
fn the_table_has_the_names_of_the_rules_that_are_shipped() {
    let rules = [
        include_str!("../../deploy/events/rule.json"),
        include_str!("../../deploy/events/first-password-rule.json"),
    ];
    let names = |rule: &str| -> Vec<String> {
        let rule: Value = serde_json::from_str(rule).unwrap();
        serde_json::from_value(rule["detail"]["eventName"].clone()).unwrap()
    };
    let mut shipped: Vec<String> = rules.into_iter().flat_map(names).collect();
    let mut known = EVENTS.map(|(name, _)| name.to_owned()).to_vec();
    shipped.sort();
    known.sort();
    assert_eq!(shipped, known);
}

#[test]
fn the_events_of_the_stand_in_are_read() {
    let cognito = StandIn::start(Pool::sandbox()).unwrap();
    for (name, kind) in EVENTS {
        let change = parse(&cognito.event(name, SUB).to_string(), SystemTime::now(), |pool| {
            pool.as_str() == cognito.pool_id()
        });
        let change = change.unwrap_or_else(|ignored| panic!("{name}: {ignored:?}"));
        assert_eq!((change.event, change.kind), (name, kind));
        let names_pool = name.starts_with("Admin") || name == DELETE_GROUP;
        assert_eq!(matches!(change.pools, ChangedPools::One(_)), names_pool, "{name}");
    }
}

#[test]
fn a_users_own_call_is_about_the_pools_of_its_region() {
    let expected = Change {
        pools: ChangedPools::OfRegion("eu-west-1".into()),
        ..changed(ChangeKind::Attributes, "UpdateUserAttributes")
    };
    let event = own("UpdateUserAttributes");
    assert_eq!(read(&event.to_string()), Ok(expected.clone()));
    let hidden = with(admin("UpdateUserAttributes"), "/detail/requestParameters/userPoolId", json!(HIDDEN));
    assert_eq!(read(&hidden.to_string()), Ok(expected));
    for region in [Value::Null, json!(""), json!("EU WEST 1"), json!("a".repeat(65))] {
        assert_eq!(reason(&with(event.clone(), "/detail/awsRegion", region)), Reason::Malformed);
    }
}

#[test]
fn the_sub_is_found_in_three_places_and_never_in_a_username() {
    let bare = without(own("SignUp"), "/detail", "additionalEventData");
    let places = [
        ("additionalEventData", json!({"sub": SUB})),
        ("additionalEventData", json!({"sub": HIDDEN, "requestParameters": {"sub": [SUB]}})),
        ("responseElements", json!({"userSub": SUB})),
    ];
    for (name, value) in places {
        let mut event = bare.clone();
        event["detail"][name] = value;
        let change = read(&event.to_string()).expect("a change");
        assert_eq!(change.subject, Subject::User(SUB.parse().unwrap()), "{name}");
    }
    let username = with(admin("AdminDisableUser"), "/detail/requestParameters/username", json!(SUB));
    let username = without(username, "/detail/additionalEventData", "sub");
    assert_eq!(
        read(&username.to_string()),
        Err(Ignored { event: "AdminDisableUser", reason: Reason::NoSubject })
    );
}

#[test]
fn a_sub_that_is_none_is_no_subject() {
    let subs = ["", "a b", "a\u{0}b", "ä", HIDDEN, "HIDDEN_FOR_SECURITY_REASONS", &"x".repeat(129)];
    for sub in
        subs.map(Value::from).into_iter().chain([json!(1), json!([SUB]), json!({"sub": SUB}), Value::Null])
    {
        let event = with(admin("DeleteUser"), "/detail/additionalEventData/sub", sub);
        assert_eq!(reason(&event), Reason::NoSubject, "{event}");
    }
    let odd = with(admin("DeleteUser"), "/detail/additionalEventData/sub", json!("not_a-UUID"));
    assert!(read(&odd.to_string()).is_ok());
}

#[test]
fn other_messages_are_ignored_for_a_reason() {
    let change = || own("UpdateUserAttributes");
    let cases = [
        ("another service", with(change(), "/source", json!("aws.iam")), Reason::Foreign),
        (
            "another source",
            with(change(), "/detail/eventSource", json!("iam.amazonaws.com")),
            Reason::Foreign,
        ),
        ("no source", without(change(), "", "source"), Reason::Foreign),
        ("a new major version", with(change(), "/detail/eventVersion", json!("2.0")), Reason::Foreign),
        (
            "a pool that is not served",
            with(admin("AdminEnableUser"), "/detail/requestParameters/userPoolId", json!("eu-west-1_Other")),
            Reason::Foreign,
        ),
        (
            "a pool that is no pool",
            with(admin("AdminEnableUser"), "/detail/requestParameters/userPoolId", json!("x")),
            Reason::Foreign,
        ),
        ("another name", own("AdminGetUser"), Reason::Unknown(Some("AdminGetUser".into()))),
        ("a name that is none", own("evil\nname"), Reason::Unknown(None)),
        ("a long name", own(&"A".repeat(65)), Reason::Unknown(None)),
        ("no name", without(change(), "/detail", "eventName"), Reason::Malformed),
        ("no time", without(change(), "/detail", "eventTime"), Reason::Malformed),
        ("a time that is none", with(change(), "/detail/eventTime", json!("yesterday")), Reason::Malformed),
        ("no detail", without(change(), "", "detail"), Reason::Malformed),
        ("a detail that is none", with(change(), "/detail", json!([])), Reason::Malformed),
        (
            "RevokeToken, whose token is hidden",
            without(own("RevokeToken"), "/detail/additionalEventData", "sub"),
            Reason::NoSubject,
        ),
    ];
    for (case, event, expected) in cases {
        assert_eq!(reason(&event), expected, "{case}");
    }
}

#[test]
fn an_older_minor_version_or_none_is_read() {
    for version in ["1.08", "1.9", "1.12"] {
        let event = with(own("DeleteUser"), "/detail/eventVersion", json!(version));
        assert!(read(&event.to_string()).is_ok(), "{version}");
    }
    assert!(read(&without(own("DeleteUser"), "/detail", "eventVersion").to_string()).is_ok());
}

#[test]
fn a_failed_call_changes_nothing_whatever_its_name() {
    for (name, label) in [("UpdateUserAttributes", "UpdateUserAttributes"), ("AdminGetUser", "other")] {
        for code in [json!("NotAuthorizedException"), json!(7)] {
            let mut event = own(name);
            event["detail"]["errorCode"] = code;
            assert_eq!(read(&event.to_string()), Err(Ignored { event: label, reason: Reason::Failed }));
        }
    }
    for code in [json!(""), Value::Null] {
        let mut event = own("UpdateUserAttributes");
        event["detail"]["errorCode"] = code;
        assert!(read(&event.to_string()).is_ok());
    }
}

#[test]
fn only_the_challenge_for_the_first_password_is_a_change() {
    for (name, _) in EVENTS.into_iter().filter(|(name, _)| answers_challenge(name)) {
        for challenge in [json!("SMS_MFA"), json!(HIDDEN), Value::Null] {
            let event = with(admin(name), "/detail/requestParameters/challengeName", challenge);
            assert_eq!(reason(&event), Reason::Unknown(Some(name.into())));
        }
    }
}

#[test]
fn a_time_far_ahead_is_now() {
    let at = |text: &str| {
        let event = with(own("GlobalSignOut"), "/detail/eventTime", json!(text));
        read(&event.to_string()).expect("a change").at
    };
    assert_eq!(at("2026-11-29T10:00:10Z"), time() + Duration::from_secs(10));
    assert_eq!(at("2026-11-29T10:00:11Z"), time());
    assert_eq!(at("2099-01-01T00:00:00Z"), time());
    assert_eq!(at("2026-11-28T10:00:00Z"), time() - Duration::from_hours(24));
}

#[test]
fn an_event_may_come_through_sns() {
    let wrapped = |message: Value| json!({"Type": "Notification", "TopicArn": "arn", "Message": message});
    let inner = own("DeleteUser").to_string();
    assert_eq!(read(&wrapped(json!(inner)).to_string()), read(&inner));
    for message in
        [json!("not JSON"), Value::Null, own("DeleteUser"), json!(wrapped(json!(inner)).to_string())]
    {
        assert_eq!(reason(&wrapped(message)), Reason::Malformed);
    }
}

#[test]
fn an_application_can_report_changes() {
    let kinds = [
        ("ATTRIBUTES", ChangeKind::Attributes),
        ("GROUPS", ChangeKind::Groups),
        ("STATUS", ChangeKind::Status),
        ("SIGNED_OUT", ChangeKind::SignedOut),
        ("DISABLED", ChangeKind::Disabled),
        ("ERASED", ChangeKind::Erased),
    ];
    for (text, kind) in kinds {
        let event = with(user_change(), "/detail/change", json!(text));
        assert_eq!(read(&event.to_string()), Ok(changed(kind, "UserChange")));
    }
    let mut by_put_events = user_change();
    for (name, value) in
        [("source", json!("com.example.app")), ("version", json!("0")), ("account", json!("1"))]
    {
        by_put_events[name] = value;
    }
    assert!(read(&by_put_events.to_string()).is_ok());
    by_put_events["source"] = json!("aws.cognito-idp");
    assert_eq!(reason(&by_put_events), Reason::Foreign);
}

#[test]
fn the_own_form_is_strict() {
    for name in ["userPoolId", "sub", "change", "time"] {
        assert_eq!(reason(&without(user_change(), "/detail", name)), Reason::Malformed, "{name}");
        for value in [json!(""), json!(1), json!("a b"), Value::Null] {
            let event = with(user_change(), &format!("/detail/{name}"), value);
            assert_eq!(reason(&event), Reason::Malformed, "{event}");
        }
    }
    let mut more = user_change();
    more["detail"]["email"] = json!("ada@example.com");
    assert_eq!(reason(&more), Reason::Malformed);
    let elsewhere = with(user_change(), "/detail/userPoolId", json!("eu-west-1_Other"));
    assert_eq!(reason(&elsewhere), Reason::Foreign);
    assert_eq!(reason(&with(user_change(), "/detail/change", json!("CREATED"))), Reason::Malformed);
}

#[test]
fn every_damaged_message_is_malformed_or_ignored_and_never_a_panic() {
    for event in [admin("AdminDeleteUser"), own("GlobalSignOut"), user_change()] {
        let text = event.to_string();
        for end in 0..text.len() {
            assert_eq!(read(text.get(..end).unwrap()).expect_err("cut").reason, Reason::Malformed, "{end}");
        }
        for pointer in pointers(&event) {
            for odd in [Value::Null, json!(true), json!(-1), json!([]), json!({}), json!(""), json!("\u{0}")]
            {
                // Whatever it says, it says something.
                let _ = read(&with(event.clone(), &pointer, odd).to_string());
            }
        }
    }
    for text in ["", " ", "null", "1", "[]", "{}", "\u{feff}{}", &"[".repeat(10_000), &"x".repeat(300_000)] {
        assert_eq!(read(text).expect_err("no event").reason, Reason::Malformed);
    }
    let large = with(own("DeleteUser"), "/id", json!("x".repeat(256 * 1024)));
    assert_eq!(reason(&large), Reason::Malformed);
}

/// Returns the JSON pointer of each field.
fn pointers(value: &Value) -> Vec<String> {
    let fields = value.as_object().into_iter().flatten();
    fields
        .flat_map(|(name, inner)| {
            let path = format!("/{name}");
            let below = pointers(inner).into_iter().map(|rest| format!("{path}{rest}")).collect::<Vec<_>>();
            std::iter::once(path).chain(below)
        })
        .collect()
}

#[test]
fn nothing_personal_is_shown() {
    let shown = format!("{:?}", read(&admin("AdminDisableUser").to_string()));
    assert!(!shown.contains(SUB), "{shown}");
}
