//! The settings as a TOML file, for `config print`.

use std::{collections::BTreeMap, fmt::Write as _};

use serde_json::Value;

use super::{Config, ValueSource, builder};

impl Config {
    /// Returns every setting as TOML, with the source of each as a comment. Loaded again, it is the
    /// same settings.
    ///
    /// What is not set is a comment, with the value and its origin if `derived` has them for the
    /// key. So is what the settings of a single pool are turned into.
    pub fn to_toml(&self, derived: &BTreeMap<String, (String, &str)>) -> String {
        let (mut text, mut current) = (String::new(), String::new());
        for (key, value) in builder::flatten(self) {
            let (table, name) = key.rsplit_once('.').unwrap_or(("", &key));
            if table != current {
                text.push_str(&self.header(table));
                table.clone_into(&mut current);
            }
            let spelled = spelled(&value);
            let from = self.derived.get(&key).or_else(|| self.derived.get(table));
            // Writing to a string cannot fail.
            let _ = match (from, derived.get(&key)) {
                (Some(from), _) => writeln!(text, "# {name} = {spelled}  # derived from {from}"),
                (None, Some((value, from))) if spelled == "null" => {
                    writeln!(text, "# {name} = {value:?}  # derived from {from}")
                }
                _ if spelled == "null" => writeln!(text, "# {name} is not set"),
                _ => writeln!(text, "{name} = {spelled}  # {}", self.own_source(&key)),
            };
        }
        text
    }

    fn header(&self, table: &str) -> String {
        match table.split_once('[') {
            Some((array, _)) if self.derived.contains_key(table) => format!("\n# [[{array}]]\n"),
            Some((array, _)) => format!("\n[[{array}]]\n"),
            None => format!("\n[{table}]\n"),
        }
    }

    fn own_source(&self, key: &str) -> String {
        let source = self.value_sources.get(key).unwrap_or(&ValueSource::Default);
        source.to_string().replace(char::is_control, "\u{fffd}")
    }
}

/// Returns a value as TOML; `null` for one that is not set. JSON differs in one thing: TOML allows
/// no control characters in a string (TOML 1.0, "String").
fn spelled(value: &Value) -> String {
    let mut text = String::new();
    for c in value.to_string().chars() {
        if c.is_control() {
            let _ = write!(text, "\\u{:04x}", u32::from(c));
        } else {
            text.push(c);
        }
    }
    text
}
