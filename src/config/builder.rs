//! The merged sources: a tree of values by the shape of [`Config`], with the origin of each.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::{
    CallerSettings, Config, ConfigError, PoolSettings, text,
    value_source::{self, ValueSource},
};

/// The values set so far over the defaults, where each came from, and what was wrong.
pub(super) struct ConfigBuilder {
    /// The defaults, with one row in each array of tables: what keys there are and of which kind.
    template: Value,
    root: Value,
    value_sources: BTreeMap<String, ValueSource>,
    errors: Vec<ConfigError>,
}

impl Default for ConfigBuilder {
    fn default() -> Self {
        let mut example = Config::default();
        let root = json(&example);
        example.pools.push(PoolSettings::default());
        example.callers.push(CallerSettings::default());
        Self { template: json(&example), root, value_sources: BTreeMap::new(), errors: Vec::new() }
    }
}

impl ConfigBuilder {
    /// An example of every key.
    pub(super) const fn template(&self) -> &Value {
        &self.template
    }

    /// Notes a fault, to be reported with the others.
    pub(super) fn add_error(&mut self, key: &str, message: impl Into<String>, value_source: ValueSource) {
        self.errors.push(ConfigError { key: key.to_owned(), message: message.into(), value_source });
    }

    /// Notes that there is no such key, and which was perhaps meant.
    pub(super) fn add_unknown_key(&mut self, key: &str, value_source: ValueSource) {
        let meant = self.nearest_key(key).map(|meant| value_source.spell(&meant));
        let hint = meant.map_or_else(String::new, |meant| format!("; did you mean {meant}?"));
        self.add_error(key, format!("is not a setting{hint}"), value_source);
    }

    /// Sets a value spelled as text, by the type of its key.
    pub(super) fn set_text(&mut self, key: &str, value: &str, value_source: ValueSource) {
        match self.example(key).map(|example| text::parse(example, value)) {
            Some(Ok(value)) => self.set(key, value, value_source),
            Some(Err(message)) => self.add_error(key, message, value_source),
            None => self.add_unknown_key(key, value_source),
        }
    }

    /// Sets a value, in a new row if its key names the next one.
    pub(super) fn set(&mut self, key: &str, value: Value, value_source: ValueSource) {
        self.add_row(key, &value_source);
        match self.root.pointer_mut(&pointer(key)) {
            Some(slot) => {
                *slot = value;
                self.value_sources.insert(key.to_owned(), value_source);
            }
            None => self.add_error(key, "rows are numbered from 0 without gaps", value_source),
        }
    }

    /// Adds the row that `key` is or is in, if it is the next one of its array.
    pub(super) fn add_row(&mut self, key: &str, value_source: &ValueSource) {
        let Some((row, (array, index))) =
            key.split_once(']').and_then(|(row, _)| Some((row, row.split_once('[')?)))
        else {
            return;
        };
        let example = self.template.get(array).and_then(|rows| rows.get(0));
        let rows = self.root.get_mut(array).and_then(Value::as_array_mut);
        if let (Some(example), Some(rows)) = (example, rows)
            && rows.len().to_string() == index
        {
            rows.push(example.clone());
            self.value_sources.insert(format!("{row}]"), value_source.clone());
        }
    }

    /// The settings, with the default in place of every value at fault, and all faults.
    pub(super) fn build(mut self) -> (Config, Vec<ConfigError>) {
        for _ in 0..=self.value_sources.len() {
            match serde_path_to_error::deserialize::<_, Config>(&self.root) {
                Ok(mut config) => {
                    config.value_sources = self.value_sources;
                    return (config, self.errors);
                }
                Err(error) => self.reset_to_default(&error.path().to_string(), error.inner().to_string()),
            }
        }
        (Config::default(), self.errors)
    }

    fn reset_to_default(&mut self, path: &str, message: String) {
        let found = value_source::nearest(&self.value_sources, path);
        let found = found.map(|(key, value_source)| (key.clone(), value_source.clone()));
        let (key, value_source) = found.unwrap_or_else(|| (path.to_owned(), ValueSource::Default));
        let default = self.example(&key).cloned();
        if let (Some(slot), Some(default)) = (self.root.pointer_mut(&pointer(&key)), default) {
            *slot = default;
        }
        self.add_error(path, message, value_source);
    }

    fn example(&self, key: &str) -> Option<&Value> {
        key.split(['.', '[']).try_fold(&self.template, |at, part| match at {
            Value::Array(rows) if part.ends_with(']') => rows.first(),
            _ => at.get(part),
        })
    }

    /// The known key nearest to this one, if but a slip apart, in the same row.
    fn nearest_key(&self, key: &str) -> Option<String> {
        let row = key.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
        let row = format!("[{}]", row.map_or("0", |(index, _)| index));
        let known = flatten(&self.template).into_iter().map(|(known, _)| known.replace("[0]", &row));
        let near = known.map(|known| (text::edit_distance(&known, key), known));
        near.filter(|(slips, _)| *slips <= 2).min().map(|(_, known)| known)
    }
}

/// Every key with its value as text, in declaration order.
pub(super) fn flatten(value: &impl Serialize) -> Vec<(String, String)> {
    let mut found = Vec::new();
    flatten_into(String::new(), &json(value), &mut found);
    found
}

fn flatten_into(key: String, value: &Value, found: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) => {
            let dot = if key.is_empty() { "" } else { "." };
            for (name, field) in fields {
                flatten_into(format!("{key}{dot}{name}"), field, found);
            }
        }
        Value::Array(rows) if rows.iter().any(Value::is_object) => {
            for (at, row) in rows.iter().enumerate() {
                flatten_into(format!("{key}[{at}]"), row, found);
            }
        }
        _ => found.push((key, text::format_value(value))),
    }
}

/// `pools[0].id` as a JSON pointer: `/pools/0/id`.
fn pointer(key: &str) -> String {
    format!("/{}", key.replace(['.', '['], "/").replace(']', ""))
}

/// The settings as JSON, which they always have: their keys are strings and their numbers whole.
fn json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}
