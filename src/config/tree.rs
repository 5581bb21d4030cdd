//! The merged sources: a tree of values by the shape of [`Config`], with the origin of each.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::{
    CallerSettings, Config, Fault, PoolSettings,
    origin::{self, Origin},
    text,
};

/// The values set so far over the defaults, where each came from, and what was wrong.
pub(super) struct Tree {
    /// The defaults, with one row in each array of tables: what keys there are and of which kind.
    shape: Value,
    root: Value,
    origins: BTreeMap<String, Origin>,
    faults: Vec<Fault>,
}

impl Default for Tree {
    fn default() -> Self {
        let mut example = Config::default();
        let root = json(&example);
        example.pools.push(PoolSettings::default());
        example.callers.push(CallerSettings::default());
        Self { shape: json(&example), root, origins: BTreeMap::new(), faults: Vec::new() }
    }
}

impl Tree {
    /// An example of every key.
    pub(super) const fn shape(&self) -> &Value {
        &self.shape
    }

    /// Notes a fault, to be reported with the others.
    pub(super) fn fault(&mut self, key: &str, message: impl Into<String>, origin: Origin) {
        self.faults.push(Fault { key: key.to_owned(), message: message.into(), origin });
    }

    /// Notes that there is no such key, and which was perhaps meant.
    pub(super) fn unknown(&mut self, key: &str, origin: Origin) {
        let meant = self.similar(key).map(|meant| origin.spell(&meant));
        let hint = meant.map_or_else(String::new, |meant| format!("; did you mean {meant}?"));
        self.fault(key, format!("is not a setting{hint}"), origin);
    }

    /// Sets a value spelled as text, by the type of its key.
    pub(super) fn set_text(&mut self, key: &str, value: &str, origin: Origin) {
        match self.example(key).map(|example| text::typed(example, value)) {
            Some(Ok(value)) => self.set(key, value, origin),
            Some(Err(message)) => self.fault(key, message, origin),
            None => self.unknown(key, origin),
        }
    }

    /// Sets a value, in a new row if its key names the next one.
    pub(super) fn set(&mut self, key: &str, value: Value, origin: Origin) {
        self.grow(key, &origin);
        match self.root.pointer_mut(&pointer(key)) {
            Some(slot) => {
                *slot = value;
                self.origins.insert(key.to_owned(), origin);
            }
            None => self.fault(key, "rows are numbered from 0 without gaps", origin),
        }
    }

    /// Adds the row that `key` is or is in, if it is the next one of its array.
    pub(super) fn grow(&mut self, key: &str, origin: &Origin) {
        let Some((row, (array, index))) =
            key.split_once(']').and_then(|(row, _)| Some((row, row.split_once('[')?)))
        else {
            return;
        };
        let example = self.shape.get(array).and_then(|rows| rows.get(0));
        let rows = self.root.get_mut(array).and_then(Value::as_array_mut);
        if let (Some(example), Some(rows)) = (example, rows)
            && rows.len().to_string() == index
        {
            rows.push(example.clone());
            self.origins.insert(format!("{row}]"), origin.clone());
        }
    }

    /// The settings, with the default in place of every value at fault, and all faults.
    pub(super) fn settle(mut self) -> (Config, Vec<Fault>) {
        for _ in 0..=self.origins.len() {
            match serde_path_to_error::deserialize::<_, Config>(&self.root) {
                Ok(mut config) => {
                    config.origins = self.origins;
                    return (config, self.faults);
                }
                Err(error) => self.reject(&error.path().to_string(), error.inner().to_string()),
            }
        }
        (Config::default(), self.faults)
    }

    fn reject(&mut self, path: &str, message: String) {
        let found = origin::nearest(&self.origins, path);
        let found = found.map(|(key, origin)| (key.clone(), origin.clone()));
        let (key, origin) = found.unwrap_or_else(|| (path.to_owned(), Origin::Default));
        let default = self.example(&key).cloned();
        if let (Some(slot), Some(default)) = (self.root.pointer_mut(&pointer(&key)), default) {
            *slot = default;
        }
        self.fault(path, message, origin);
    }

    fn example(&self, key: &str) -> Option<&Value> {
        key.split(['.', '[']).try_fold(&self.shape, |at, part| match at {
            Value::Array(rows) if part.ends_with(']') => rows.first(),
            _ => at.get(part),
        })
    }

    /// The known key nearest to this one, if but a slip apart, in the same row.
    fn similar(&self, key: &str) -> Option<String> {
        let row = key.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
        let row = format!("[{}]", row.map_or("0", |(index, _)| index));
        let known = leaves(&self.shape).into_iter().map(|(known, _)| known.replace("[0]", &row));
        let near = known.map(|known| (text::distance(&known, key), known));
        near.filter(|(slips, _)| *slips <= 2).min().map(|(_, known)| known)
    }
}

/// Every key with its value as text, in declaration order.
pub(super) fn leaves(value: &impl Serialize) -> Vec<(String, String)> {
    let mut found = Vec::new();
    gather(String::new(), &json(value), &mut found);
    found
}

fn gather(key: String, value: &Value, found: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) => {
            let dot = if key.is_empty() { "" } else { "." };
            for (name, field) in fields {
                gather(format!("{key}{dot}{name}"), field, found);
            }
        }
        Value::Array(rows) if rows.iter().any(Value::is_object) => {
            for (at, row) in rows.iter().enumerate() {
                gather(format!("{key}[{at}]"), row, found);
            }
        }
        _ => found.push((key, text::plain(value))),
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
