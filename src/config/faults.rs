//! What is wrong with the settings: all of it together, each fault with its key and source.

use std::{
    error::Error,
    fmt::{self, Display, Formatter},
    slice,
    str::FromStr,
};

use super::{Config, Origin, shorthand};

/// One thing wrong with the settings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {message} ({})", place(origin))]
pub struct Fault {
    /// The key at fault, such as `callers[0].attributes`; `config` for the file as a whole.
    pub key: String,
    /// What is wrong and, where it helps, what would be right.
    pub message: String,
    /// Where the value came from; [`Origin::Default`], shown as `not set`, if no source set it.
    pub origin: Origin,
}

/// At least one [`Fault`], in the order of their sources; displayed one per line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults(pub(super) Vec<Fault>);

impl Faults {
    /// Starts a check of `config` by a module that knows more than types and bounds. It begins with the faults that
    /// `config` was loaded with.
    pub fn collector(config: &Config) -> Collector<'_> {
        Collector { config, faults: config.faults.clone() }
    }

    /// The faults, in the order of their sources.
    pub fn iter(&self) -> slice::Iter<'_, Fault> {
        self.0.iter()
    }

    /// The faults in the order of their sources, or none if there are none.
    pub(super) fn from_found(mut faults: Vec<Fault>) -> Option<Self> {
        faults.sort_by(|a, b| a.origin.cmp(&b.origin));
        faults.dedup();
        (!faults.is_empty()).then_some(Self(faults))
    }
}

impl From<Fault> for Faults {
    fn from(fault: Fault) -> Self {
        Self(vec![fault])
    }
}

impl Display for Faults {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.iter().map(Fault::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl Error for Faults {}

/// Gathers the faults of one [`Config`], so that they are reported together.
#[derive(Debug)]
pub struct Collector<'a> {
    config: &'a Config,
    faults: Vec<Fault>,
}

impl Collector<'_> {
    /// Adds a fault of `key`; its source is looked up. A key already at fault was reset to its default, and one that a
    /// faulty shorthand stands for was never set, of which the user need not hear.
    pub fn add(&mut self, key: impl Into<String>, message: impl Display) {
        let key = key.into();
        if self.faults.iter().any(|known| known.key == key) || shorthand::owes(self.config, &key) {
            return;
        }
        self.faults.push(Fault { origin: self.config.origin(&key), message: message.to_string(), key });
    }

    /// Parses the value of `key`; none if it is wrong, which is then added.
    pub fn parsed<T: FromStr<Err: Display>>(&mut self, key: &str, value: &str) -> Option<T> {
        value.parse().map_err(|error| self.add(key, format_args!("{value:?} {error}"))).ok()
    }

    /// Ends the check: what was read if nothing is wrong, else every fault of the settings and of the check. A reader
    /// that reads nothing must have said why.
    pub fn finish<T>(mut self, read: Option<T>) -> Result<T, Faults> {
        if read.is_none() && self.faults.is_empty() {
            self.add("config", "could not be read");
        }
        match (Faults::from_found(self.faults), read) {
            (None, Some(read)) => Ok(read),
            (faults, _) => Err(faults.unwrap_or_else(|| Faults(Vec::new()))),
        }
    }
}

fn place(origin: &Origin) -> String {
    match origin {
        Origin::Default => "not set".to_owned(),
        set => set.to_string(),
    }
}
