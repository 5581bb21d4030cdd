//! What is wrong with the settings: all of it together, each fault with its key and source.

use std::{
    error::Error,
    fmt::{self, Display, Formatter},
    slice,
    str::FromStr,
};

use super::{Config, ValueSource, single_pool};

/// One thing wrong with the settings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {message} ({})", source_text(value_source))]
pub struct ConfigError {
    /// The key at fault, such as `callers[0].attributes`; `config` for the file as a whole.
    pub key: String,
    /// What is wrong and, where it helps, what would be right.
    pub message: String,
    /// Where the value came from; [`ValueSource::Default`], shown as `not set`, if no source set it.
    pub value_source: ValueSource,
}

/// At least one [`ConfigError`], in the order of their sources; displayed one per line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub(super) Vec<ConfigError>);

impl ConfigErrors {
    /// The faults, in the order of their sources.
    pub fn iter(&self) -> slice::Iter<'_, ConfigError> {
        self.0.iter()
    }

    /// The faults in the order of their sources, or none if there are none.
    pub(super) fn from_list(mut errors: Vec<ConfigError>) -> Option<Self> {
        errors.sort_by(|a, b| a.value_source.cmp(&b.value_source));
        errors.dedup();
        (!errors.is_empty()).then_some(Self(errors))
    }
}

impl From<ConfigError> for ConfigErrors {
    fn from(fault: ConfigError) -> Self {
        Self(vec![fault])
    }
}

impl Display for ConfigErrors {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.iter().map(ConfigError::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl Error for ConfigErrors {}

/// Gathers the faults of one [`Config`], so that they are reported together.
#[derive(Debug)]
pub struct ErrorCollector<'a> {
    config: &'a Config,
    errors: Vec<ConfigError>,
}

impl<'a> ErrorCollector<'a> {
    /// Starts a check of `config` by a module that knows more than types and bounds. It begins with the errors that
    /// `config` was loaded with.
    pub fn new(config: &'a Config) -> Self {
        Self { config, errors: config.errors.clone() }
    }

    /// Adds a fault of `key`; its source is looked up. A key already at fault was reset to its default, and one that a
    /// faulty shorthand stands for was never set, of which the user need not hear.
    pub fn add(&mut self, key: impl Into<String>, message: impl Display) {
        let key = key.into();
        if self.errors.iter().any(|known| known.key == key)
            || single_pool::is_derived_from_faulty(self.config, &key)
        {
            return;
        }
        self.errors.push(ConfigError {
            value_source: self.config.value_source(&key),
            message: message.to_string(),
            key,
        });
    }

    /// Parses the value of `key`; none if it is wrong, which is then added.
    pub fn parsed<T: FromStr<Err: Display>>(&mut self, key: &str, value: &str) -> Option<T> {
        value.parse().map_err(|error| self.add(key, format_args!("{value:?} {error}"))).ok()
    }

    /// Ends the check: what was read if nothing is wrong, else every fault of the settings and of the check. A reader
    /// that reads nothing must have said why.
    pub fn finish<T>(mut self, read: Option<T>) -> Result<T, ConfigErrors> {
        if read.is_none() && self.errors.is_empty() {
            self.add("config", "could not be read");
        }
        match (ConfigErrors::from_list(self.errors), read) {
            (None, Some(read)) => Ok(read),
            (errors, _) => Err(errors.unwrap_or_else(|| ConfigErrors(Vec::new()))),
        }
    }
}

fn source_text(value_source: &ValueSource) -> String {
    match value_source {
        ValueSource::Default => "not set".to_owned(),
        set => set.to_string(),
    }
}
