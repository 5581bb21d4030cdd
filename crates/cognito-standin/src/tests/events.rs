//! The events of changes.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    super::{EventDelivery, StandIn},
    POOL, WEB, call, sign_in, sqs, standin,
};

const ADA: &str = "ada00000-5a4d-4b0c-8000-000000000001";
const HIDDEN: &str = "HIDDEN_DUE_TO_SECURITY_REASONS";

/// Takes the events out of the queue.
fn events(standin: &StandIn) -> Vec<Value> {
    let received = sqs::receive(standin, 30);
    received.iter().map(|message| serde_json::from_str(message["Body"].as_str().unwrap()).unwrap()).collect()
}

/// Updates ada's name as an administrator.
fn update(standin: &StandIn) {
    let change = json!([{"Name": "name", "Value": "Augusta"}]);
    let input = json!({"UserPoolId": POOL, "Username": "ada", "UserAttributes": change});
    assert_eq!(call(standin, "AdminUpdateUserAttributes", &input).0, 200);
}

#[test]
fn an_admin_change_names_the_pool_and_hides_the_rest() {
    let standin = standin();
    update(&standin);
    let event = events(&standin).remove(0);
    let detail = &event["detail"];
    assert_eq!(
        [&event["source"], &event["detail-type"], &event["account"], &event["region"]],
        ["aws.cognito-idp", "AWS API Call via CloudTrail", "123456789012", "eu-west-1"]
    );
    assert_eq!(
        [&detail["eventName"], &detail["eventSource"], &detail["awsRegion"]],
        ["AdminUpdateUserAttributes", "cognito-idp.amazonaws.com", "eu-west-1"]
    );
    assert_eq!(
        detail["requestParameters"],
        json!({"userPoolId": POOL, "username": HIDDEN, "userAttributes": HIDDEN})
    );
    assert_eq!(detail["additionalEventData"], json!({"sub": ADA}));
    assert_eq!((&detail["responseElements"], detail.get("errorCode")), (&Value::Null, None));
    let time = detail["eventTime"].as_str().unwrap();
    assert!(time.len() == "2026-11-29T10:00:00Z".len() && event["time"] == time, "{time}");
    assert!(!event.to_string().contains("Augusta"));
}

#[test]
fn a_self_service_change_is_anonymous_and_names_no_pool() {
    let standin = standin();
    let token = standin.access_token("ada").unwrap();
    let input = json!({"AccessToken": token, "UserAttributes": [{"Name": "name", "Value": "Augusta"}]});
    assert_eq!(call(&standin, "UpdateUserAttributes", &input).0, 200);
    assert_eq!(standin.user("ada").unwrap().attribute("name"), Some("Augusta"));
    let detail = events(&standin).remove(0)["detail"].take();
    assert_eq!(detail["requestParameters"], json!({"accessToken": HIDDEN, "userAttributes": HIDDEN}));
    assert_eq!(detail["userIdentity"], json!({"type": "Unknown", "principalId": "Anonymous"}));
    assert_eq!(detail["additionalEventData"]["sub"], ADA);
}

#[test]
fn every_change_has_an_event_with_its_user() {
    let standin = standin();
    let token = standin.access_token("ada").unwrap();
    let (me, code) = (json!({"AccessToken": token}), "123456");
    let with = |base: &Value, more: Value| {
        let mut input = base.clone();
        input.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        input
    };
    let (ada, eve) = (json!({"Username": "ada"}), json!({"Username": "eve", "ClientId": WEB}));
    let mut calls = vec![
        ("AdminAddUserToGroup", with(&ada, json!({"GroupName": "staff"}))),
        ("AdminRemoveUserFromGroup", with(&ada, json!({"GroupName": "staff"}))),
        ("AdminDeleteUserAttributes", with(&ada, json!({"UserAttributeNames": ["locale"]}))),
        ("AdminSetUserPassword", with(&ada, json!({"Password": "Ada-2", "Permanent": true}))),
        ("AdminResetUserPassword", ada.clone()),
        (
            "ConfirmForgotPassword",
            with(&ada, json!({"ClientId": WEB, "ConfirmationCode": code, "Password": "Ada-3"})),
        ),
        ("DeleteUserAttributes", with(&me, json!({"UserAttributeNames": ["given_name"]}))),
        ("VerifyUserAttribute", with(&me, json!({"AttributeName": "phone_number", "Code": code}))),
        ("ChangePassword", with(&me, json!({"PreviousPassword": "Ada-3", "ProposedPassword": "Ada-4"}))),
        ("AdminDisableUser", ada.clone()),
        ("AdminEnableUser", ada.clone()),
        ("AdminUserGlobalSignOut", ada.clone()),
        ("AdminDeleteUser", ada),
        ("SignUp", with(&eve, json!({"Password": "Eve-1"}))),
        ("ConfirmSignUp", with(&eve, json!({"ConfirmationCode": code}))),
        ("AdminConfirmSignUp", eve),
        ("AdminCreateUser", json!({"Username": "mel", "TemporaryPassword": "Mel-1"})),
    ];
    for (operation, input) in &mut calls {
        let sub = |standin: &StandIn| {
            let name = input["Username"].as_str().unwrap_or("ada");
            standin.user(name).map(|user| user.sub)
        };
        let before = sub(&standin);
        let (status, output) = call(&standin, operation, &with(input, json!({"UserPoolId": POOL})));
        assert_eq!(status, 200, "{operation}: {output}");
        let detail = events(&standin).remove(0)["detail"].take();
        let sub = before.or_else(|| sub(&standin)).unwrap();
        assert_eq!(
            (&detail["eventName"], &detail["additionalEventData"]["sub"]),
            (&json!(operation), &json!(sub))
        );
        let pool = detail["requestParameters"].get("userPoolId");
        assert_eq!(pool.is_some(), operation.starts_with("Admin"), "{operation}");
        assert_eq!(detail["responseElements"].get("userSub").is_some(), *operation == "SignUp");
    }
    assert_eq!(standin.messages(), calls.len());
}

#[test]
fn the_user_sets_the_first_password_by_a_challenge() {
    let standin = standin();
    let create = json!({"UserPoolId": POOL, "Username": "eve", "TemporaryPassword": "Eve-1"});
    call(&standin, "AdminCreateUser", &create);
    let session = sign_in(&standin, "eve", "Eve-1").1["Session"].clone();
    let answer = json!({"ChallengeName": "NEW_PASSWORD_REQUIRED", "ClientId": WEB, "Session": session,
        "ChallengeResponses": {"USERNAME": "eve", "NEW_PASSWORD": "Eve-2"}});
    let (status, output) = call(&standin, "RespondToAuthChallenge", &answer);
    assert!(status == 200 && output["AuthenticationResult"]["AccessToken"].is_string(), "{output}");
    assert_eq!(call(&standin, "RespondToAuthChallenge", &answer).0, 400, "a session is good for one answer");
    let detail = events(&standin).remove(1)["detail"].take();
    assert_eq!(detail["requestParameters"]["challengeName"], "NEW_PASSWORD_REQUIRED");
    assert_eq!(detail["additionalEventData"]["sub"], json!(standin.user("eve").unwrap().sub));
}

#[test]
fn reads_and_failed_calls_send_no_event() {
    let standin = standin();
    for (operation, input) in [
        ("AdminGetUser", json!({"UserPoolId": POOL, "Username": "ada"})),
        ("AdminDisableUser", json!({"UserPoolId": POOL, "Username": "nobody"})),
        ("AdminDisableUser", json!({"UserPoolId": "eu-west-1_Other", "Username": "ada"})),
        ("UpdateUserAttributes", json!({"AccessToken": "x", "UserAttributes": []})),
        ("ConfirmSignUp", json!({"ClientId": WEB, "Username": "ada", "ConfirmationCode": "1"})),
        ("AdminUnknown", json!({"UserPoolId": POOL})),
    ] {
        call(&standin, operation, &input);
        assert_eq!(standin.messages(), 0, "{operation}");
    }
}

#[test]
fn a_deleted_group_leaves_its_members_and_names_no_user() {
    let standin = standin();
    let input = json!({"UserPoolId": POOL, "GroupName": "engineers"});
    assert_eq!(call(&standin, "DeleteGroup", &input).0, 200);
    assert!(standin.user("ada").unwrap().groups.is_empty());
    let detail = events(&standin).remove(0)["detail"].take();
    assert_eq!(detail["requestParameters"], json!({"userPoolId": POOL, "groupName": "engineers"}));
    assert_eq!(detail["additionalEventData"], Value::Null);
}

#[test]
fn events_can_be_lost_doubled_and_damaged() {
    type Check = fn(&[Value]) -> bool;
    let cases: [(&str, EventDelivery, Check); 6] = [
        ("drop", EventDelivery { drop: true, ..Default::default() }, |bodies| bodies.is_empty()),
        ("delay", EventDelivery { delay: Duration::from_secs(900), ..Default::default() }, |bodies| {
            bodies.is_empty()
        }),
        ("duplicate", EventDelivery { duplicate: true, ..Default::default() }, |bodies| {
            bodies.len() == 2 && bodies[0] == bodies[1]
        }),
        ("error", EventDelivery { error_code: Some("X".to_owned()), ..Default::default() }, |bodies| {
            bodies[0]["detail"]["errorCode"] == "X"
        }),
        ("sub", EventDelivery { hide_sub: true, ..Default::default() }, |bodies| {
            bodies[0]["detail"]["additionalEventData"] == json!({})
        }),
        ("pool", EventDelivery { hide_pool: true, ..Default::default() }, |bodies| {
            bodies[0]["detail"]["requestParameters"].get("userPoolId").is_none()
        }),
    ];
    for (name, delivery, check) in cases {
        let standin = standin();
        standin.set_event_delivery(delivery);
        update(&standin);
        let bodies = events(&standin);
        assert!(check(&bodies), "{name}: {bodies:?}");
    }
}

#[test]
fn a_garbled_event_is_not_json_and_a_shuffled_one_is_not_lost() {
    let standin = standin();
    standin.set_event_delivery(EventDelivery { garble: true, ..Default::default() });
    update(&standin);
    let body = sqs::receive(&standin, 30).remove(0)["Body"].take();
    assert!(serde_json::from_str::<Value>(body.as_str().unwrap()).is_err());
    standin.set_event_delivery(EventDelivery { shuffle: true, ..Default::default() });
    for _ in 0..9 {
        update(&standin);
    }
    assert_eq!(events(&standin).len(), 9);
}

#[test]
fn two_pools_can_share_a_queue_and_a_test_can_write_its_own_events() {
    let (one, two) = (standin(), standin());
    two.deliver_events_to(&one);
    update(&two);
    assert_eq!((one.messages(), two.messages()), (1, 0));
    one.send_message(one.event("AdminLinkProviderForUser", "some-sub").to_string());
    let detail = events(&one).remove(1)["detail"].take();
    assert_eq!(
        (&detail["eventName"], &detail["additionalEventData"]["sub"]),
        (&json!("AdminLinkProviderForUser"), &json!("some-sub"))
    );
    assert_eq!(detail["requestParameters"]["userPoolId"], POOL);
}
