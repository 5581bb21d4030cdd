//! Batches: up to 10 entries, of which each succeeds or fails for itself.

use serde_json::{Value, json};

use super::{super::json::insert, error::SqsError, input::member};

/// Applies `execute` to each entry of `input`. Its output gets the entry's id.
pub(super) fn each(
    input: &Value,
    mut execute: impl FnMut(&Value) -> Result<Value, SqsError>,
) -> Result<Value, SqsError> {
    let entries: Vec<Value> = member(input, "Entries")?;
    match entries.len() {
        0 => return Err(SqsError::EmptyBatchRequest),
        1..=10 => {}
        _ => return Err(SqsError::TooManyEntries),
    }
    let (mut successful, mut failed) = (Vec::new(), Vec::new());
    for entry in &entries {
        let id: String = member(entry, "Id")?;
        match execute(entry) {
            Ok(output) => successful.push(with_id(output, id)),
            Err(error) => failed.push(with_id(error.entry(), id)),
        }
    }
    Ok(json!({"Successful": successful, "Failed": failed}))
}

fn with_id(mut entry: Value, id: String) -> Value {
    insert(&mut entry, "Id", id);
    entry
}
