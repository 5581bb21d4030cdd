//! JSON objects with optional fields.

use serde_json::Value;

/// Adds a field to an object. Does nothing to other values.
pub(super) fn insert(object: &mut Value, name: &str, value: impl Into<Value>) {
    if let Some(fields) = object.as_object_mut() {
        fields.insert(name.to_owned(), value.into());
    }
}
