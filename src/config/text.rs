//! Values as text: in the environment, in errors and in the output of `config print`.

use std::net::SocketAddr;

use serde::{Deserialize, Deserializer, Serializer, de::Error as _};
use serde_json::Value;

/// Reads the text of a variable or a flag as the type of `template`; commas separate the items of a
/// list. Text that is not of the type stays text, and is refused later.
pub(super) fn parse(template: &Value, text: &str) -> Value {
    match template {
        Value::Array(_) if text.trim().is_empty() => Value::Array(Vec::new()),
        Value::Array(_) => text.split(',').map(str::trim).collect(),
        Value::Bool(_) => text.parse().map_or_else(|_| text.into(), Value::Bool),
        _ => text.into(),
    }
}

/// Returns a value in the form that [`parse`] reads.
pub(super) fn format_value(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(format_value).collect::<Vec<_>>().join(","),
        value => value.to_string(),
    }
}

/// Reads a value with `parse`; fails if that returns none, because the value is not `expected`.
pub(super) fn read<'de, D: Deserializer<'de>, T>(
    source: D,
    expected: &str,
    parse: impl FnOnce(&Value) -> Option<T>,
) -> Result<T, D::Error> {
    let value = Value::deserialize(source)?;
    parse(&value).ok_or_else(|| D::Error::custom(not(&value, expected)))
}

/// Returns the error of a value that is not `expected`. The content of a table is not shown.
pub(super) fn not(value: &Value, expected: &str) -> String {
    match value {
        Value::Object(_) => format!("a table is not {expected}"),
        value => format!("{value} is not {expected}"),
    }
}

pub(super) fn address<'de, D: Deserializer<'de>>(source: D) -> Result<SocketAddr, D::Error> {
    let expected = "an address and port; expected one such as 127.0.0.1:9090";
    read(source, expected, |value| value.as_str()?.parse().ok())
}

/// Reads and writes a file mode in octal, such as `0660`, for `#[serde(with = …)]`.
pub(super) struct FileMode;

impl FileMode {
    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(source: D) -> Result<u32, D::Error> {
        let expected = "a file mode; expected one in octal such as \"0660\"";
        let mode = |text: &str| u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777);
        read(source, expected, |value| mode(value.as_str()?))
    }

    pub(in crate::config) fn serialize<S: Serializer>(value: &u32, sink: S) -> Result<S::Ok, S::Error> {
        sink.collect_str(&format_args!("{value:04o}"))
    }
}

#[cfg(test)]
mod tests;
