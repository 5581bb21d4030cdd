//! JSON objects with optional fields.

use serde::de::DeserializeOwned;
use serde_json::Value;

/// Reads one field of an object. A missing one is null, which an `Option` accepts.
pub(super) fn member<T: DeserializeOwned>(object: &Value, name: &str) -> Result<T, serde_json::Error> {
    T::deserialize(object.get(name).unwrap_or(&Value::Null))
}

/// Adds a field to an object. Does nothing to other values.
pub(super) fn insert(object: &mut Value, name: &str, value: impl Into<Value>) {
    if let Some(fields) = object.as_object_mut() {
        fields.insert(name.to_owned(), value.into());
    }
}

/// Removes a field of the object that a JSON pointer finds. Does nothing if there is none.
pub(super) fn remove(value: &mut Value, pointer: &str, name: &str) {
    if let Some(fields) = value.pointer_mut(pointer).and_then(Value::as_object_mut) {
        fields.remove(name);
    }
}
