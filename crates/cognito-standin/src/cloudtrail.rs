//! `LookupEvents` of AWS CloudTrail.

use std::time::UNIX_EPOCH;

use humantime::parse_rfc3339;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    api_error::ApiError,
    json::{insert, member},
    lock::lock,
    page::page,
    state::State,
};

/// Executes one call: events from the newest to the oldest, in pages of at most 50.
pub(super) fn execute(state: &State, operation: &str, input: &Value) -> Result<Value, ApiError> {
    if operation != "LookupEvents" {
        return Err(ApiError::UnknownOperation);
    }
    let query = Query::read(input)?;
    let trail = lock(&state.trail);
    let events = trail.newest_first().map(event).filter(|event| query.matches(event));
    let page = page(events, Some(query.most), query.token.as_deref())
        .map_err(|_| ApiError::CloudTrail("InvalidNextTokenException", "Invalid NextToken."))?;
    let mut output = json!({"Events": page.items});
    if let Some(token) = page.next {
        insert(&mut output, "NextToken", token);
    }
    Ok(output)
}

struct Query {
    attribute: Option<Attribute>,
    start: f64,
    end: f64,
    most: u32,
    token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Attribute {
    attribute_key: String,
    attribute_value: String,
}

impl Query {
    fn read(input: &Value) -> Result<Self, ApiError> {
        let read = |error: serde_json::Error| ApiError::InvalidParameter(error.to_string());
        let mut attributes: Vec<Attribute> =
            member::<Option<_>>(input, "LookupAttributes").map_err(read)?.unwrap_or_default();
        let query = Self {
            attribute: attributes.pop(),
            start: member::<Option<f64>>(input, "StartTime").map_err(read)?.unwrap_or(f64::MIN),
            end: member::<Option<f64>>(input, "EndTime").map_err(read)?.unwrap_or(f64::MAX),
            most: member::<Option<u32>>(input, "MaxResults").map_err(read)?.unwrap_or(LARGEST_PAGE),
            token: member(input, "NextToken").map_err(read)?,
        };
        if !attributes.is_empty() {
            return Err(ApiError::CloudTrail(
                "InvalidLookupAttributesException",
                "You can specify only one lookup attribute.",
            ));
        }
        if !(1..=LARGEST_PAGE).contains(&query.most) {
            return Err(ApiError::CloudTrail("InvalidMaxResultsException", "MaxResults must be 1 to 50."));
        }
        if query.start > query.end {
            return Err(ApiError::CloudTrail("InvalidTimeRangeException", "The start is after the end."));
        }
        Ok(query)
    }

    fn matches(&self, event: &Value) -> bool {
        let time = event["EventTime"].as_f64().unwrap_or_default();
        self.start <= time
            && time <= self.end
            && self.attribute.as_ref().is_none_or(|wanted| {
                event.get(&wanted.attribute_key).and_then(Value::as_str) == Some(&wanted.attribute_value)
            })
    }
}

fn event(record: &Value) -> Value {
    let time = record["eventTime"].as_str().and_then(|text| parse_rfc3339(text).ok()).unwrap_or(UNIX_EPOCH);
    json!({
        "EventId": record["eventID"],
        "EventName": record["eventName"],
        "ReadOnly": "false",
        "EventTime": time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
        "EventSource": record["eventSource"],
        "Resources": [],
        "CloudTrailEvent": record.to_string(),
    })
}

const LARGEST_PAGE: u32 = 50;
