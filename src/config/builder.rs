//! Merges the sources of the settings: values in the shape of [`Config`], and the source of each.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::{
    CallerSettings, Config, ConfigError, PoolSettings, text,
    value_source::{self, ValueSource},
};

/// The values set so far over the defaults, the source of each, and what is wrong with them.
pub(super) struct ConfigBuilder {
    /// The defaults, with one row in each array of tables: every key, and an example of its type.
    template: Value,
    values: Value,
    value_sources: BTreeMap<String, ValueSource>,
    errors: Vec<ConfigError>,
}

impl Default for ConfigBuilder {
    fn default() -> Self {
        let mut config = Config::default();
        let values = json(&config);
        config.pools.push(PoolSettings::default());
        config.callers.push(CallerSettings::default());
        Self { template: json(&config), values, value_sources: BTreeMap::new(), errors: Vec::new() }
    }
}

impl ConfigBuilder {
    /// Returns an example of the type of a key; none if there is no such key.
    pub(super) fn template(&self, key: &str) -> Option<&Value> {
        current_name(key).split(['.', '[']).try_fold(&self.template, |at, part| match at {
            Value::Array(rows) if part.ends_with(']') => rows.first(),
            _ => at.get(part),
        })
    }

    pub(super) fn add_error(&mut self, key: &str, message: impl Into<String>, value_source: ValueSource) {
        let (key, message) = (key.to_owned(), message.into());
        self.errors.push(ConfigError { key, message, value_source, may_pass: false });
    }

    /// Sets the text of a variable or a flag, as the type of its key.
    pub(super) fn set_text(&mut self, key: &str, text: &str, value_source: ValueSource) {
        let value = self.template(key).map_or_else(|| text.into(), |template| text::parse(template, text));
        self.set(key, value, value_source);
    }

    /// Sets a value, in a new row if the key names the next one. [`Self::build`] checks its type.
    pub(super) fn set(&mut self, key: &str, value: Value, value_source: ValueSource) {
        let error = match (self.template(key), &value) {
            (None, _) => self.unknown_key(key, &value_source),
            (Some(template), _) if is_table(template) => "is a table; set the keys in it".to_owned(),
            (_, Value::String(text)) if text.is_empty() => {
                "is empty; leave it unset for the default".to_owned()
            }
            (_, Value::Null) => "is a number out of range".to_owned(),
            (Some(Value::Array(_)), Value::Array(items)) if items.iter().any(is_blank) => {
                "an item of the list is empty".to_owned()
            }
            (Some(Value::Array(_)), value) if !value.is_array() => {
                text::not(value, r#"a list; expected one such as ["a", "b"]"#)
            }
            _ => return self.insert(key, value, value_source),
        };
        self.add_error(key, error, value_source);
    }

    fn insert(&mut self, key: &str, value: Value, value_source: ValueSource) {
        self.add_row(key, &value_source);
        match self.values.pointer_mut(&pointer(current_name(key))) {
            Some(slot) => {
                *slot = value;
                self.value_sources.insert(key.to_owned(), value_source);
            }
            None => self.add_error(key, "skips a row; rows are numbered from 0 without gaps", value_source),
        }
    }

    /// Adds the row that `key` is or is in, if it is the next one of its array.
    pub(super) fn add_row(&mut self, key: &str, value_source: &ValueSource) {
        let Some((row, (array, index))) =
            key.split_once(']').and_then(|(row, _)| Some((row, row.split_once('[')?)))
        else {
            return;
        };
        let template = self.template.get(array).and_then(|rows| rows.get(0));
        let rows = self.values.get_mut(array).and_then(Value::as_array_mut);
        if let (Some(template), Some(rows)) = (template, rows)
            && rows.len().to_string() == index
        {
            rows.push(template.clone());
            self.value_sources.insert(format!("{row}]"), value_source.clone());
        }
    }

    /// Returns the settings with all errors, and with the default in place of every wrong value.
    pub(super) fn build(mut self) -> Config {
        self.rename_old_keys();
        for _ in 0..=self.value_sources.len() {
            match serde_path_to_error::deserialize::<_, Config>(&self.values) {
                Ok(config) => {
                    return Config { value_sources: self.value_sources, errors: self.errors, ..config };
                }
                Err(error) => self.reset_to_default(&error.path().to_string(), error.inner().to_string()),
            }
        }
        Config { errors: self.errors, ..Config::default() }
    }

    fn rename_old_keys(&mut self) {
        for (old, new) in RENAMED_KEYS {
            let Some(value_source) = self.value_sources.remove(old) else { continue };
            if self.value_sources.contains_key(new) {
                let error = format!("is the old name of {new}, and both are set; remove {old}");
                self.add_error(old, error, value_source);
            } else {
                self.value_sources.insert(new.to_owned(), value_source);
            }
        }
    }

    fn reset_to_default(&mut self, path: &str, error: String) {
        let nearest = value_source::nearest(&self.value_sources, path);
        let (key, value_source) =
            nearest.map_or((path, ValueSource::Default), |(key, source)| (key, source.clone()));
        if let Some(default) = self.template(key).cloned()
            && let Some(slot) = self.values.pointer_mut(&pointer(key))
        {
            *slot = default;
        }
        // serde names the words of a setting after the variants of a Rust enum.
        self.add_error(path, error.replace("unknown variant", "unknown value"), value_source);
    }

    fn unknown_key(&self, key: &str, value_source: &ValueSource) -> String {
        let meant = self.nearest_key(key).map(|meant| value_source.spell(&meant));
        let hint = meant.map_or_else(String::new, |meant| format!("; did you mean {meant}?"));
        format!("is not a setting{hint}")
    }

    /// Returns the key that differs in at most two characters, in the same row.
    fn nearest_key(&self, key: &str) -> Option<String> {
        let row = key.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
        let row = format!("[{}]", row.map_or("0", |(index, _)| index));
        let known = flatten(&self.template).into_iter().map(|(known, _)| known.replace("[0]", &row));
        let near = known.map(|known| (strsim::levenshtein(&known, key), known));
        near.filter(|(edits, _)| *edits <= 2).min().map(|(_, known)| known)
    }
}

/// Returns every key with its value, in declaration order: the top-level ones first, then the
/// tables.
pub(super) fn flatten(value: &impl Serialize) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    flatten_into(String::new(), &json(value), &mut found);
    found
}

fn flatten_into(key: String, value: &Value, found: &mut Vec<(String, Value)>) {
    match value {
        Value::Object(fields) => {
            let dot = if key.is_empty() { "" } else { "." };
            for (name, field) in fields {
                flatten_into(format!("{key}{dot}{name}"), field, found);
            }
        }
        Value::Array(rows) if is_table(value) => {
            for (at, row) in rows.iter().enumerate() {
                flatten_into(format!("{key}[{at}]"), row, found);
            }
        }
        // An array of tables without rows has no keys.
        _ if ARRAYS_OF_TABLES.contains(&&*key) => {}
        _ => found.push((key, value.clone())),
    }
}

/// Returns whether a value is a table or an array of tables.
pub(super) fn is_table(value: &Value) -> bool {
    value.is_object() || value.get(0).is_some_and(Value::is_object)
}

fn is_blank(item: &Value) -> bool {
    item.as_str().is_some_and(|item| item.trim().is_empty())
}

/// Returns the name that a key has today.
fn current_name(key: &str) -> &str {
    RENAMED_KEYS.iter().find(|(old, _)| *old == key).map_or(key, |(_, new)| new)
}

/// Returns `pools[0].id` as a JSON pointer: `/pools/0/id`.
fn pointer(key: &str) -> String {
    format!("/{}", key.replace(['.', '['], "/").replace(']', ""))
}

/// Returns the settings as JSON. That cannot fail: their keys are strings and their numbers whole.
fn json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

// Old names that are accepted until 1.0, and the names that replaced them.
const RENAMED_KEYS: [(&str, &str); 1] = [("cache.max_verdict_bytes", "cache.max_token_bytes")];
const ARRAYS_OF_TABLES: [&str; 2] = ["pools", "callers"];
