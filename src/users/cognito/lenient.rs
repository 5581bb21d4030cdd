//! Rewrites a response into the exact form of Cognito's API, where no meaning is lost by it.
//!
//! Emulators, and proxies in front of Cognito, send values that are no text, dates as text, and null
//! for an empty list. Members that this service does not use are dropped unread.

use std::{borrow::Cow, collections::BTreeMap, ops::RangeInclusive};

use aws_sdk_cognitoidentityprovider::primitives::{DateTime, DateTimeFormat};
use serde_json::{Map, Value, json, value::RawValue};

use super::flaw::Flaw;
use crate::attribute::AttributeName;

/// The members of an object as they are written, so that a number keeps its digits.
type Members<'a> = BTreeMap<String, &'a RawValue>;

/// Rewrites an answer, and adds the fields that cannot be read and are left out to `left_out`. None
/// if it is not JSON.
pub(super) fn answer(text: &str, left_out: &mut Vec<String>) -> Result<Option<String>, Flaw> {
    let json = without_nan(text);
    let Ok(raw) = serde_json::from_str::<&RawValue>(&json) else { return Ok(None) };
    Ok(Some(object(raw, "the body", left_out)?.to_string()))
}

/// Keeps only the code of an error. Its message may quote the request.
pub(super) fn error(body: &[u8]) -> String {
    let members: Members<'_> = serde_json::from_slice(body).unwrap_or_default();
    let code = ["code", "__type", "Code"].into_iter().find_map(|name| scalar(members.get(name)?));
    // It is logged, and a gateway may send anything.
    let code = code.filter(|code| code.len() <= MAX_CODE_BYTES);
    json!({"__type": code}).to_string()
}

fn object(raw: &RawValue, field: &str, left_out: &mut Vec<String>) -> Result<Value, Flaw> {
    let members: Members<'_> = serde_json::from_str(raw.get()).map_err(|_| Flaw::unreadable(field))?;
    // A user is enabled unless the answer says otherwise.
    let mut object = Map::from_iter([("Enabled".to_owned(), true.into())]);
    for (name, raw) in members {
        if let Some(value) = member(&name, raw, left_out)? {
            object.insert(name, value);
        }
    }
    Ok(object.into())
}

fn member(field: &str, raw: &RawValue, left_out: &mut Vec<String>) -> Result<Option<Value>, Flaw> {
    let is_null = raw.get() == "null";
    let unreadable = || Flaw::unreadable(field);
    let value = match field {
        "Attributes" | "UserAttributes" => Some(attributes(list(raw, field)?, left_out)),
        "Groups" | "Users" => {
            let items = list(raw, field)?.into_iter().filter(|item| item.get() != "null");
            Some(items.map(|item| object(item, field, left_out)).collect::<Result<_, _>>()?)
        }
        _ if is_null => None,
        "Enabled" => Some(flag(raw).ok_or_else(unreadable)?.into()),
        "Limit" => serde_json::from_str(raw.get()).ok(),
        "UserCreateDate" | "UserLastModifiedDate" => {
            scalar(raw).and_then(|text| seconds(&text)).map(Value::from)
        }
        "UserStatus" => scalar(raw).map(Value::from),
        "GroupName" | "NextToken" | "PaginationToken" | "Username" => {
            Some(scalar(raw).ok_or_else(unreadable)?.into())
        }
        _ => return Ok(None),
    };
    if value.is_none() && !is_null {
        left_out.push(field.to_owned());
    }
    Ok(value)
}

/// Reads a list; null is an empty one, as Go writes it.
fn list<'a>(raw: &'a RawValue, field: &str) -> Result<Vec<&'a RawValue>, Flaw> {
    let list: Option<_> = serde_json::from_str(raw.get()).map_err(|_| Flaw::unreadable(field))?;
    Ok(list.unwrap_or_default())
}

/// A missing value, and null, are an attribute that the user does not have.
fn attributes(list: Vec<&RawValue>, left_out: &mut Vec<String>) -> Value {
    let mut attributes = Vec::new();
    for raw in list {
        let attribute: Members<'_> = serde_json::from_str(raw.get()).unwrap_or_default();
        let value = attribute.get("Value").filter(|value| value.get() != "null");
        let name = attribute.get("Name").and_then(|name| scalar(name));
        let name = name.filter(|name| name.parse::<AttributeName>().is_ok());
        match (name, value.map(|value| text(value))) {
            (Some(name), Some(Some(value))) => attributes.push(json!({"Name": name, "Value": value})),
            (Some(_), None) => {}
            (Some(_), Some(None)) => left_out.push("Value of an attribute".to_owned()),
            (None, _) => left_out.push("Name of an attribute".to_owned()),
        }
    }
    attributes.into()
}

/// Reads a text, or another value as it is written: Cognito itself sends JSON as text in
/// `identities`.
fn text(raw: &RawValue) -> Option<String> {
    if raw.get().starts_with('"') { serde_json::from_str(raw.get()).ok() } else { Some(raw.get().to_owned()) }
}

/// Reads a text, a number or a boolean.
fn scalar(raw: &RawValue) -> Option<String> {
    text(raw).filter(|_| !raw.get().starts_with(['{', '[', 'n']))
}

fn flag(raw: &RawValue) -> Option<bool> {
    match scalar(raw)?.to_ascii_lowercase().as_str() {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}

/// Reads a date in the seconds since 1970 that Cognito sends, or in ISO 8601, in UTC unless it says
/// otherwise.
fn seconds(text: &str) -> Option<f64> {
    let iso = text.replacen(' ', "T", 1);
    let forms = || [iso.clone(), format!("{iso}Z"), format!("{iso}T00:00:00Z")].into_iter();
    let date = |form: String| DateTime::from_str(&form, DateTimeFormat::DateTimeWithOffset).ok();
    let seconds = text.parse().ok().or_else(|| forms().find_map(date).map(|date| date.as_secs_f64()));
    seconds.filter(|seconds| SECONDS.contains(seconds))
}

/// Replaces by null what Python writes for a number that is none.
fn without_nan(json: &str) -> Cow<'_, str> {
    if !WORDS.iter().any(|word| json.contains(word)) {
        return json.into();
    }
    let (mut text, mut is_quoted) = (String::with_capacity(json.len()), false);
    for part in json.split_inclusive('"') {
        let words = if is_quoted { &[] } else { &WORDS[..] };
        text += &words.iter().fold(part.to_owned(), |part, word| part.replace(word, "null"));
        let before = part.strip_suffix('"').unwrap_or(part);
        let is_escaped = is_quoted && (before.len() - before.trim_end_matches('\\').len()) % 2 == 1;
        is_quoted ^= !is_escaped;
    }
    text.into()
}

// Longer than any code of AWS.
const MAX_CODE_BYTES: usize = 256;
const WORDS: [&str; 3] = ["-Infinity", "Infinity", "NaN"];
// The years 1 to 9999, protobuf's `Timestamp`.
const SECONDS: RangeInclusive<f64> = -62_135_596_800.0..=253_402_300_799.999;

#[cfg(test)]
mod tests;
