//! How the operations read their inputs.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{
    super::{json, state::State},
    error::SqsError,
};

/// Reads one member of an input. A missing one is null, which an `Option` accepts.
pub(super) fn member<T: DeserializeOwned>(input: &Value, name: &str) -> Result<T, SqsError> {
    json::member(input, name).map_err(|error| {
        SqsError::InvalidParameter(format!("Value for parameter {name} is invalid. {error}"))
    })
}

/// Reads a number up to `most`.
pub(super) fn number(input: &Value, name: &str, default: u64, most: u64) -> Result<u64, SqsError> {
    let number = member::<Option<u64>>(input, name)?.unwrap_or(default);
    if number <= most {
        return Ok(number);
    }
    let message = format!("Value {number} for parameter {name} is invalid. Reason: Must be <= {most}.");
    Err(SqsError::InvalidParameter(message))
}

pub(super) fn seconds(input: &Value, name: &str, default: u64, most: u64) -> Result<Duration, SqsError> {
    number(input, name, default, most).map(Duration::from_secs)
}

/// Fails unless `QueueUrl` names the queue. Its host is not compared, because a client may know the
/// emulator by another name.
pub(super) fn check_queue(state: &State, input: &Value) -> Result<(), SqsError> {
    let url: String = member(input, "QueueUrl")?;
    if url.ends_with(&state.queue_path()) { Ok(()) } else { Err(SqsError::QueueDoesNotExist) }
}
