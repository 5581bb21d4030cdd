//! Reads a JSON object strictly: a token, or a key, must mean the same to every reader.

use std::{collections::BTreeSet, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error, IgnoredAny, MapAccess, Visitor},
};

/// Reads an object. Returns none if it is ambiguous, also in members that `T` does not read: it is
/// not UTF-8, has half of a surrogate pair (RFC 8259, section 8.2), or a name twice (RFC 7515,
/// section 4; RFC 7519, section 4).
pub(super) fn object<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let text = str::from_utf8(bytes).ok()?;
    serde_json::from_str::<DistinctNames>(text).ok()?;
    if has_lone_surrogate(text) { None } else { serde_json::from_str(text).ok() }
}

/// An object, of which only the names are read.
struct DistinctNames;

impl<'de> Deserialize<'de> for DistinctNames {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Self)
    }
}

impl<'de> Visitor<'de> for DistinctNames {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self, A::Error> {
        let mut names = BTreeSet::new();
        while let Some((name, IgnoredAny)) = members.next_entry::<String, _>()? {
            if !names.insert(name) {
                return Err(A::Error::custom("a name is given twice"));
            }
        }
        Ok(self)
    }
}

/// Returns whether a string of a valid JSON text has an escape for half of a surrogate pair only.
/// Serde finds that in the strings that it reads, but not in those that it ignores.
fn has_lone_surrogate(text: &str) -> bool {
    let (mut rest, mut high) = (text, false);
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        let unit = escape.get(2..6).filter(|_| escape.starts_with("\\u"));
        let unit = unit.and_then(|digits| u16::from_str_radix(digits, 16).ok()).unwrap_or_default();
        let is_low = (0xdc00..0xe000).contains(&unit);
        if is_low != high || (high && !before.is_empty()) {
            return true;
        }
        high = (0xd800..0xdc00).contains(&unit);
        rest = escape.get(if high { 6.. } else { 2.. }).unwrap_or_default();
    }
    high
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn an_object_is_read_if_every_reader_would_read_the_same() {
        let table: &[(&[u8], bool)] = &[
            (b"{}", true),
            (br#" {"a": 1, "b": {"a": 1, "a": 2}} "#, true),
            ("{\"é\": \"\u{10348}\"}".as_bytes(), true),
            (br#"{"a": "\ud800\udf48 \u00e9\\\\ud800 \\"}"#, true),
            (br#"{"a": "\\ud800", "b": "\n\"\u0000"}"#, true),
            (b"", false),
            (b"[]", false),
            (b"null", false),
            (b"{} x", false),
            (b"\xef\xbb\xbf{}", false),
            (br#"{"a": 1, "a": 1}"#, false),
            (br#"{"a": 1, "\u0061": 2}"#, false),
            (b"{\"a\": \"\xc0\xaf\"}", false),
            (b"{\"a\": [\"\xff\"]}", false),
            (b"{\"\xed\xa0\x80\": 1}", false),
            (br#"{"a": "\ud800"}"#, false),
            (br#"{"a": ["\udc00"]}"#, false),
            (br#"{"a": "\ud800\ud800\udc00"}"#, false),
            (br#"{"a": "\ud800x\udc00"}"#, false),
            (br#"{"a": "\ud800\n"}"#, false),
            (br#"{"a": "\ud800", "b": "\udc00"}"#, false),
            (br#"{"\ud800": 1}"#, false),
        ];
        for (text, expected) in table {
            let shown = String::from_utf8_lossy(text);
            assert_eq!(object::<Value>(text).is_some(), *expected, "{shown}");
            assert_eq!(object::<Ignoring>(text).is_some(), *expected, "{shown}, of which nothing is read");
        }
    }

    #[derive(Deserialize)]
    struct Ignoring {}
}
