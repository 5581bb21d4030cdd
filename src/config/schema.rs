//! The settings file as a JSON Schema, read off the types that it is read into.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings, json_schema};

use super::{
    Config, ListenAddress,
    text::{DurationText, ModeText, SizeText},
};

/// Returns the JSON Schema of the settings file (draft 2020-12), as JSON.
pub fn schema() -> String {
    let schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<Config>();
    format!("{:#}", schema.to_value())
}

macro_rules! spelled {
    ($($text:ident: $schema:tt),* $(,)?) => {$(
        impl JsonSchema for $text {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($text).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    )*};
}

// What serde reads from text of its own, without which the schema would show the types of Rust.
spelled! {
    DurationText: { "type": "string", "pattern": "^([0-9]+ *[A-Za-z\u{b5}]+ *)+$" },
    ListenAddress: { "type": "string", "pattern": "^(unix:.+|.+:[0-9]+)$" },
    ModeText: { "type": "string", "pattern": "^[0-7]{1,4}$" },
    SizeText: { "type": ["string", "integer"], "pattern": "^[0-9.]+ *[A-Za-z]*$", "minimum": 0 },
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::config::builder;

    #[test]
    fn every_key_is_described_and_no_other() {
        let schema: Value = serde_json::from_str(&schema()).unwrap();
        let mut described = Vec::new();
        keys(&schema, &schema, String::new(), &mut described);
        let mut example = Config::default();
        example.pools.push(Default::default());
        example.callers.push(Default::default());
        let known: Vec<_> = builder::flatten(&example).into_iter().map(|(key, _)| key).collect();
        assert_eq!(described, known);
    }

    fn keys(root: &Value, at: &Value, key: String, found: &mut Vec<String>) {
        let at = at["$ref"].as_str().map_or(at, |path| root.pointer(path.trim_start_matches('#')).unwrap());
        assert!(at["description"].is_string() || key.is_empty(), "{key}");
        match (at["properties"].as_object(), &at["items"]) {
            (Some(fields), _) => {
                assert_eq!(at["additionalProperties"], false, "{key}");
                let dot = if key.is_empty() { "" } else { "." };
                for (name, field) in fields {
                    keys(root, field, format!("{key}{dot}{name}"), found);
                }
            }
            (None, rows) if rows["$ref"].is_string() => keys(root, rows, format!("{key}[0]"), found),
            _ => found.push(key),
        }
    }
}
