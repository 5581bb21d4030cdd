//! `LookupEvents`.

use serde_json::{Value, json};

use super::{
    super::{EventDelivery, StandIn},
    POOL, call, call_service, standin,
};

fn lookup(standin: &StandIn, input: Value) -> (u16, Value) {
    let service = "com.amazonaws.cloudtrail.v20131101.CloudTrail_20131101";
    call_service(standin, service, "LookupEvents", &input)
}

fn names(standin: &StandIn, input: Value) -> Vec<String> {
    let (status, output) = lookup(standin, input);
    assert_eq!(status, 200, "{output}");
    output["Events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["EventName"].as_str().unwrap().to_owned())
        .collect()
}

fn by_name(name: &str) -> Value {
    json!([{"AttributeKey": "EventName", "AttributeValue": name}])
}

fn changed() -> StandIn {
    let standin = standin();
    for (operation, user) in
        [("AdminDisableUser", "ada"), ("AdminEnableUser", "ada"), ("AdminDisableUser", "nobody")]
    {
        call(&standin, operation, &json!({"UserPoolId": POOL, "Username": user}));
    }
    standin
}

#[test]
fn events_come_newest_first_failed_ones_too_and_carry_the_record() {
    let standin = changed();
    assert_eq!(names(&standin, json!({})), ["AdminDisableUser", "AdminEnableUser", "AdminDisableUser"]);
    let (_, output) = lookup(&standin, json!({"LookupAttributes": by_name("AdminDisableUser")}));
    let record = |at: usize| {
        let text = output["Events"][at]["CloudTrailEvent"].as_str().unwrap();
        serde_json::from_str::<Value>(text).unwrap()
    };
    assert_eq!(record(0)["errorCode"], "UserNotFoundException");
    assert_eq!(record(1)["additionalEventData"]["sub"], json!(standin.user("ada").unwrap().sub));
    assert_eq!(output["Events"][1]["EventId"], record(1)["eventID"]);
}

#[test]
fn events_come_in_pages_and_in_a_range_of_time() {
    let standin = changed();
    let (_, first) = lookup(&standin, json!({"MaxResults": 2}));
    assert_eq!(first["Events"].as_array().map(Vec::len), Some(2));
    assert_eq!(names(&standin, json!({"MaxResults": 2, "NextToken": first["NextToken"]})).len(), 1);
    let time = first["Events"][1]["EventTime"].as_f64().unwrap();
    assert_eq!(names(&standin, json!({"StartTime": time + 60.0})), [""; 0]);
    assert_eq!(names(&standin, json!({"EndTime": time - 60.0})), [""; 0]);
    assert_eq!(names(&standin, json!({"StartTime": time - 60.0, "EndTime": time + 60.0})).len(), 3);
}

#[test]
fn the_trail_has_what_the_queue_lost() {
    let standin = standin();
    standin.set_event_delivery(EventDelivery { drop: true, ..Default::default() });
    call(&standin, "AdminUserGlobalSignOut", &json!({"UserPoolId": POOL, "Username": "ada"}));
    assert_eq!(
        (standin.messages(), names(&standin, json!({}))),
        (0, vec!["AdminUserGlobalSignOut".to_owned()])
    );
}

#[test]
fn invalid_lookups_are_refused() {
    let standin = standin();
    let two: Vec<Value> = (0..2).flat_map(|_| by_name("SignUp").as_array().unwrap().clone()).collect();
    for (input, error) in [
        (json!({"LookupAttributes": two}), "InvalidLookupAttributesException"),
        (json!({"MaxResults": 51}), "InvalidMaxResultsException"),
        (json!({"StartTime": 2, "EndTime": 1}), "InvalidTimeRangeException"),
        (json!({"NextToken": "x"}), "InvalidNextTokenException"),
    ] {
        let (status, output) = lookup(&standin, input);
        assert_eq!((status, output["__type"].as_str()), (400, Some(error)));
    }
}
