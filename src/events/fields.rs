//! How fields of events are read. CloudTrail promises no types, so another type is as absent.

use std::time::SystemTime;

use humantime::parse_rfc3339;
use serde_json::Value;

/// Returns the text that a JSON pointer finds, unless CloudTrail hides it.
pub(super) fn text<'a>(event: &'a Value, pointer: &str) -> Option<&'a str> {
    // The developer guide says `HIDDEN_FOR_SECURITY_REASONS`; its samples have another ending.
    event.pointer(pointer)?.as_str().filter(|text| !text.starts_with("HIDDEN_"))
}

/// Reads a time as RFC 3339 in UTC.
pub(super) fn time(text: &str) -> Option<SystemTime> {
    parse_rfc3339(text).ok()
}

/// Returns the text if it looks like the name of a Region.
pub(super) fn region(text: &str) -> Option<&str> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (!text.is_empty() && text.len() <= MAX_NAME && text.bytes().all(allowed)).then_some(text)
}

/// Returns the text if it looks like the name of an operation, which may be logged.
pub(super) fn operation(text: &str) -> Option<&str> {
    let allowed = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    (!text.is_empty() && text.len() <= MAX_NAME && text.bytes().all(allowed)).then_some(text)
}

const MAX_NAME: usize = 64;
