//! Errors in the settings: all of them together, each with its key and the source of the value.

use std::{fmt::Display, slice, str::FromStr};

use super::{Config, ValueSource};

/// An error in one setting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {message} ({})", value_source.origin())]
pub struct ConfigError {
    /// The key, such as `callers[0].attributes`; `config` for the file as a whole.
    pub key: String,
    /// What is wrong with the value, and what is expected.
    pub message: String,
    /// Where the value came from; [`ValueSource::Default`] is shown as `not set`.
    pub value_source: ValueSource,
    /// Whether it may pass without a change of the settings, because it is about a file that they
    /// name, or about the time.
    pub may_pass: bool,
}

/// At least one [`ConfigError`], in the order of their sources; displayed one a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.iter().map(ConfigError::to_string).collect::<Vec<_>>().join("\n"))]
pub struct ConfigErrors(pub(super) Vec<ConfigError>);

impl ConfigErrors {
    /// Returns the errors in the order of their sources.
    pub fn iter(&self) -> slice::Iter<'_, ConfigError> {
        self.0.iter()
    }

    /// Returns whether all of them may pass without a change of the settings.
    pub fn may_pass(&self) -> bool {
        self.iter().all(|error| error.may_pass)
    }
}

/// Collects the errors in one [`Config`], so that they are reported together.
#[derive(Debug)]
pub struct ErrorCollector<'a> {
    config: &'a Config,
    errors: Vec<ConfigError>,
}

impl<'a> ErrorCollector<'a> {
    /// Begins with the errors that `config` was loaded with. Modules that know more than a
    /// setting's type and bounds add theirs.
    pub fn new(config: &'a Config) -> Self {
        Self { config, errors: config.errors.clone() }
    }

    /// Adds an error in the value of `key`, unless it follows from an earlier one. That is the case
    /// if `key` was reset to its default, or the settings of a single pool failed to set it.
    pub fn add(&mut self, key: impl Into<String>, message: impl Display) {
        self.push(key.into(), message, false);
    }

    /// As [`Self::add`], for an error in the file that `key` names.
    pub fn add_file_error(&mut self, key: impl Into<String>, message: impl Display) {
        self.push(key.into(), message, true);
    }

    fn push(&mut self, key: String, message: impl Display, may_pass: bool) {
        let is_known = self.errors.iter().any(|known| known.key == key);
        let is_derived = DERIVED_KEYS.contains(&&*key) && has_single_pool_errors(self.config);
        if !is_known && !is_derived {
            let value_source = self.config.value_source(&key);
            self.errors.push(ConfigError { value_source, message: message.to_string(), key, may_pass });
        }
    }

    /// Returns whether there are no errors so far.
    pub fn is_empty(&self) -> bool {
        self.errors.is_empty()
    }

    /// Adds an error in an environment variable that is not one of the settings. `may_pass` is
    /// [`ConfigError::may_pass`].
    pub fn add_variable(&mut self, variable: &str, message: impl Display, may_pass: bool) {
        let (key, message) = (variable.to_owned(), message.to_string());
        let value_source = ValueSource::Environment(key.clone());
        self.errors.push(ConfigError { value_source, message, key, may_pass });
    }

    /// Parses the value of `key`; adds an error and returns none if that fails.
    pub fn parsed<T: FromStr<Err: Display>>(&mut self, key: &str, value: &str) -> Option<T> {
        value.parse().map_err(|error| self.add(key, format_args!("{value:?} {error}"))).ok()
    }

    /// Returns `value` if there are no errors, else all of them.
    pub fn finish<T>(mut self, value: Option<T>) -> Result<T, ConfigErrors> {
        match value {
            Some(value) if self.errors.is_empty() => return Ok(value),
            None if self.errors.is_empty() => self.add("config", "could not be read"),
            _ => {}
        }
        self.errors.sort_by(|a, b| a.value_source.cmp(&b.value_source));
        self.errors.dedup();
        Err(ConfigErrors(self.errors))
    }

    /// Returns all errors, in the order in which they were added.
    pub fn into_errors(self) -> Vec<ConfigError> {
        self.errors
    }
}

/// Returns whether the settings of a single pool are wrong, so that others do not follow from them.
pub(super) fn has_single_pool_errors(config: &Config) -> bool {
    config.errors.iter().any(|error| SINGLE_POOL_KEYS.contains(&&*error.key))
}

pub(super) const SINGLE_POOL_KEYS: [&str; 3] = ["user_pool_id", "app_clients", "attributes"];
// The other settings of the pool, such as the address of an emulator, stay in `[[pools]]`.
pub(super) const DERIVED_KEYS: [&str; 4] = ["pools", "callers", "pools[0].id", "pools[0].app_clients"];
