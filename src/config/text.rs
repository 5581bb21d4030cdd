//! Values as text: how each is read and how it is shown.

use std::{net::SocketAddr, time::Duration};

use bytesize::{ByteSize, KIB, MIB};
use serde::{Deserialize, Deserializer, Serializer, de::Error as _};
use serde_json::Value;

/// Reads text as the type of `example`; a list is separated by commas, and empty text is an empty list. Fails with what
/// the text should have been.
pub(super) fn parse(example: &Value, text: &str) -> Result<Value, String> {
    match example {
        Value::Array(rows) if rows.is_empty() => Ok(split(text)),
        Value::Array(_) | Value::Object(_) => Err("is a table: set the keys in it".to_owned()),
        _ if text.is_empty() => Err("is empty; leave it unset for the default".to_owned()),
        Value::Bool(_) => parsed(text, Value::is_boolean, "true or false"),
        Value::Number(_) => parsed(text, Value::is_number, "a number"),
        _ => Ok(Value::from(text)),
    }
}

fn split(text: &str) -> Value {
    match text.trim() {
        "" => Value::Array(Vec::new()),
        text => text.split(',').map(str::trim).collect(),
    }
}

fn parsed(text: &str, fits: fn(&Value) -> bool, wanted: &str) -> Result<Value, String> {
    let value = serde_json::from_str(text).ok().filter(fits);
    value.ok_or_else(|| format!("`{text}` is not {wanted}"))
}

/// Shows a value as [`parse`] reads it.
pub(super) fn format_value(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(format_value).collect::<Vec<_>>().join(","),
        value => value.to_string(),
    }
}

/// How many characters must be added, dropped or changed to make `a` of `b`.
pub(super) fn edit_distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (at, x) in a.chars().enumerate() {
        let mut left = at + 1;
        let mut next = vec![left];
        for ((diagonal, above), y) in row.iter().zip(row.iter().skip(1)).zip(b.chars()) {
            left = (diagonal + usize::from(x != y)).min(above + 1).min(left + 1);
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

/// Shows a value in a complaint: text as it is, what is within a table not at all.
pub(super) fn quoted_value(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(_) => "{…}".to_owned(),
        value => value.to_string(),
    }
}

/// Reads a value with `read`, which has none for what is not `wanted`; that then is the failure.
fn read<'de, D: Deserializer<'de>, T>(
    source: D,
    wanted: &str,
    read: impl FnOnce(&Value) -> Option<T>,
) -> Result<T, D::Error> {
    let value = Value::deserialize(source)?;
    read(&value).ok_or_else(|| D::Error::custom(format_args!("`{}` is not {wanted}", quoted_value(&value))))
}

/// Reads a socket address; fails on anything else.
pub(super) fn address<'de, D: Deserializer<'de>>(source: D) -> Result<SocketAddr, D::Error> {
    read(source, "an address and port such as 127.0.0.1:9090", |value| value.as_str()?.parse().ok())
}

/// Reads a whole number that fits its type; fails on anything else.
pub(super) fn number<'de, D: Deserializer<'de>, N: TryFrom<u64>>(source: D) -> Result<N, D::Error> {
    read(source, "a whole number", |value| N::try_from(value.as_u64()?).ok())
}

/// Reads a list of strings, none of them blank; fails on anything else.
pub(super) fn list<'de, D: Deserializer<'de>>(source: D) -> Result<Vec<String>, D::Error> {
    let items = read(source, r#"a list such as ["a", "b"]"#, |value| {
        value.as_array()?.iter().map(|item| item.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>()
    })?;
    if items.iter().any(|item| item.trim().is_empty()) {
        return Err(D::Error::custom("an item of the list is empty"));
    }
    Ok(items)
}

/// Reads true or false; fails on anything else.
pub(super) fn boolean<'de, D: Deserializer<'de>>(source: D) -> Result<bool, D::Error> {
    read(source, "true or false", Value::as_bool)
}

/// Reads a string; fails on anything else.
pub(super) fn string<'de, D: Deserializer<'de>>(source: D) -> Result<String, D::Error> {
    read(source, STRING, |value| value.as_str().map(str::to_owned))
}

/// Reads a string or none; fails on anything else.
pub(super) fn optional<'de, D: Deserializer<'de>>(source: D) -> Result<Option<String>, D::Error> {
    read(source, STRING, |value| match value {
        Value::Null => Some(None),
        value => value.as_str().map(|text| Some(text.to_owned())),
    })
}

/// Reads a whole number or none, spelled as a number or as text; fails on anything else.
pub(super) fn rate<'de, D: Deserializer<'de>>(source: D) -> Result<Option<usize>, D::Error> {
    read(source, "a whole number such as 20", |value| match value {
        Value::Null => Some(None),
        value => quoted_value(value).parse().ok().map(Some),
    })
}

/// Durations such as `60s` or `15min`.
pub(super) struct DurationText;

impl DurationText {
    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(source: D) -> Result<Duration, D::Error> {
        let wanted = "a duration such as 60s or 15min";
        read(source, wanted, |value| humantime::parse_duration(value.as_str()?).ok())
    }

    pub(in crate::config) fn serialize<S: Serializer>(value: &Duration, sink: S) -> Result<S::Ok, S::Error> {
        sink.collect_str(&humantime::format_duration(*value))
    }
}

/// File modes in octal, such as `0660`.
pub(super) struct ModeText;

impl ModeText {
    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(source: D) -> Result<u32, D::Error> {
        let mode = |text: &str| u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777);
        read(source, "a file mode in octal such as \"0660\"", |value| mode(value.as_str()?))
    }

    pub(in crate::config) fn serialize<S: Serializer>(value: &u32, sink: S) -> Result<S::Ok, S::Error> {
        sink.collect_str(&format_args!("{value:04o}"))
    }
}

/// Sizes such as `256MiB`, or a number of bytes.
pub(super) struct SizeText;

impl SizeText {
    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(source: D) -> Result<u64, D::Error> {
        let size = |text: String| text.parse::<ByteSize>().ok().map(|size| size.as_u64());
        read(source, "a size such as 256MiB", |value| size(quoted_value(value)))
    }

    pub(in crate::config) fn serialize<S: Serializer>(value: &u64, sink: S) -> Result<S::Ok, S::Error> {
        sink.serialize_str(&Self::format(*value))
    }

    /// Shows a size exactly.
    pub(in crate::config) fn format(bytes: u64) -> String {
        match bytes {
            1.. if bytes.is_multiple_of(MIB) => format!("{}MiB", bytes / MIB),
            1.. if bytes.is_multiple_of(KIB) => format!("{}KiB", bytes / KIB),
            _ => bytes.to_string(),
        }
    }
}

const STRING: &str = r#"text in quotes such as "a""#;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn text_is_read_by_the_type_of_its_key() {
        for (example, text, expected) in [
            (json!([]), " a, b ", Ok(json!(["a", "b"]))),
            (json!([]), " ", Ok(json!([]))),
            (json!([]), "a,", Ok(json!(["a", ""]))),
            (json!(false), "true", Ok(json!(true))),
            (json!(false), "3", Err("`3` is not true or false")),
            (json!(1), "3", Ok(json!(3))),
            (json!(1), "true", Err("`true` is not a number")),
            (json!("info"), "3", Ok(json!("3"))),
            (Value::Null, "a,b", Ok(json!("a,b"))),
            (Value::Null, "", Err("is empty; leave it unset for the default")),
            (json!([{}]), "a", Err("is a table: set the keys in it")),
        ] {
            assert_eq!(parse(&example, text), expected.map_err(str::to_owned), "{example} {text}");
        }
    }

    #[test]
    fn durations_and_sizes_are_read_as_they_are_shown() {
        for (text, millis) in [("60s", 60_000), ("15min", 900_000), ("1h 30m", 5_400_000), ("5ms", 5)] {
            let read = DurationText::deserialize(json!(text)).unwrap();
            assert_eq!(read.as_millis(), millis, "{text}");
            let quoted_value = DurationText::serialize(&read, serde_json::value::Serializer).unwrap();
            assert_eq!(DurationText::deserialize(quoted_value).unwrap(), read);
        }
        for (value, bytes) in
            [(json!("256MiB"), 268_435_456), (json!("1 kB"), 1000), (json!(7), 7), (json!("7"), 7)]
        {
            assert_eq!(SizeText::deserialize(&value).unwrap(), bytes, "{value}");
            assert_eq!(SizeText::deserialize(json!(SizeText::format(bytes))).unwrap(), bytes);
        }
    }

    #[test]
    fn rates_are_read_from_every_source() {
        for (value, expected) in [(json!(20), Some(20)), (json!("20"), Some(20)), (Value::Null, None)] {
            assert_eq!(rate(&value).unwrap(), expected, "{value}");
        }
        for value in [json!(-1), json!(1.5), json!("x"), json!(""), json!(true), json!([1])] {
            assert!(rate(&value).is_err(), "{value}");
        }
    }

    #[test]
    fn distance_counts_slips() {
        for (a, b, slips) in
            [("", "", 0), ("", "ab", 2), ("level", "level", 0), ("levle", "level", 2), ("levl", "level", 1)]
        {
            assert_eq!(edit_distance(a, b), slips, "{a} {b}");
            assert_eq!(edit_distance(b, a), slips, "{b} {a}");
        }
    }
}
