//! The CloudTrail record of one call.
//!
//! Sources: Amazon Cognito developer guide, "Logging Amazon Cognito API calls with AWS CloudTrail";
//! AWS CloudTrail user guide, "CloudTrail record contents".

use std::time::SystemTime;

use humantime::format_rfc3339_seconds;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::super::{api_error::ApiError, json::insert, pool::ACCOUNT, state::State};

/// One call of an operation that changes something.
pub(crate) struct Occurrence<'a> {
    pub(crate) operation: &'a str,
    pub(crate) input: &'a Value,
    /// The user that it is about, if it is about one.
    pub(crate) sub: Option<&'a str>,
    pub(crate) error: Option<&'a ApiError>,
}

/// The record of a call that ended at `time`.
pub(super) fn record(state: &State, occurrence: &Occurrence<'_>, time: SystemTime) -> Value {
    let operation = occurrence.operation;
    let mut record = json!({
        "eventVersion": "1.11",
        "userIdentity": user_identity(operation),
        "eventTime": format_rfc3339_seconds(time).to_string(),
        "eventSource": "cognito-idp.amazonaws.com",
        "eventName": operation,
        "awsRegion": state.region(),
        "sourceIPAddress": "127.0.0.1",
        "userAgent": "standin",
        "requestParameters": request_parameters(operation, occurrence.input),
        "responseElements": response_elements(occurrence),
        "additionalEventData": additional_data(occurrence),
        "requestID": Uuid::new_v4().to_string(),
        "eventID": Uuid::new_v4().to_string(),
        "readOnly": false,
        "eventType": "AwsApiCall",
        "managementEvent": true,
        "recipientAccountId": ACCOUNT,
        "eventCategory": "Management",
    });
    if let Some(error) = occurrence.error {
        let (code, message) = error.code_and_message();
        insert(&mut record, "errorCode", code);
        insert(&mut record, "errorMessage", message);
    }
    record
}

/// Calls that need no AWS credentials are anonymous.
fn user_identity(operation: &str) -> Value {
    if !is_signed(operation) {
        return json!({"type": "Unknown", "principalId": "Anonymous"});
    }
    json!({
        "type": "IAMUser",
        "principalId": "AIDASTANDIN000000001",
        "arn": format!("arn:aws:iam::{ACCOUNT}:user/sandbox"),
        "accountId": ACCOUNT,
        "userName": "sandbox",
    })
}

/// The members of the input in lower camel case. All that could be personal is hidden as one text,
/// lists too.
fn request_parameters(operation: &str, input: &Value) -> Value {
    let is_shown = |name: &str| match name {
        "UserPoolId" => is_signed(operation),
        _ => SHOWN.contains(&name),
    };
    let members = input.as_object().into_iter().flatten();
    // The operations without credentials have no such member.
    let members = members.filter(|(name, _)| *name != "UserPoolId" || is_signed(operation));
    let parameters = members
        .map(|(name, value)| (lower_camel(name), if is_shown(name) { value.clone() } else { json!(HIDDEN) }));
    Value::Object(parameters.collect::<Map<_, _>>())
}

fn response_elements(occurrence: &Occurrence<'_>) -> Value {
    match (occurrence.operation, occurrence.sub) {
        _ if occurrence.error.is_some() => Value::Null,
        ("SignUp", Some(sub)) => json!({"userConfirmed": false, "userSub": sub}),
        ("AdminCreateUser", _) => json!({"user": {"username": HIDDEN, "attributes": HIDDEN}}),
        _ => Value::Null,
    }
}

fn additional_data(occurrence: &Occurrence<'_>) -> Value {
    occurrence.sub.map_or(Value::Null, |sub| json!({"sub": sub}))
}

fn is_signed(operation: &str) -> bool {
    operation.starts_with("Admin") || operation == "DeleteGroup"
}

fn lower_camel(name: &str) -> String {
    let mut rest = name.chars();
    rest.next().into_iter().flat_map(char::to_lowercase).chain(rest).collect()
}

const HIDDEN: &str = "HIDDEN_DUE_TO_SECURITY_REASONS";
/// What CloudTrail shows beside the pool's id.
const SHOWN: [&str; 4] = ["GroupName", "ClientId", "ChallengeName", "Permanent"];
