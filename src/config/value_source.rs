//! Where the value of a setting came from.

use std::{
    collections::BTreeMap,
    fmt::{self, Display, Formatter},
    path::PathBuf,
};

use super::bounded;

/// Where the value of a setting came from. Sources sort from the file to the default.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum ValueSource {
    /// The settings file.
    File {
        /// The path as it was given.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
    },
    /// The environment variable of this name.
    Environment(String),
    /// The flag of this name, with its dashes.
    Flag(String),
    /// The memory limit of the container, in bytes, which the default does not fit in.
    MemoryLimit(u64),
    /// No source set it.
    #[default]
    Default,
}

impl ValueSource {
    /// Returns the source as errors and warnings show it.
    pub fn origin(&self) -> String {
        match self {
            Self::Default => "not set".to_owned(),
            set => format!("from {set}"),
        }
    }

    /// Returns `key` as this source spells it.
    pub(super) fn spell(&self, key: &str) -> String {
        match self {
            Self::Environment(_) => {
                let name = key.to_uppercase().replace(['.', '['], "__");
                format!("{PREFIX}{}", name.replace(']', ""))
            }
            _ => format!("`{key}`"),
        }
    }
}

impl Display for ValueSource {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line } => write!(f, "{} line {line}", path.display()),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
            Self::MemoryLimit(bytes) => write!(f, "the memory limit of {}", bounded::format(*bytes)),
            Self::Default => f.write_str("default"),
        }
    }
}

/// Returns the key and source of `key`, or else of its nearest parent that has a source.
pub(super) fn nearest<'a>(
    value_sources: &'a BTreeMap<String, ValueSource>,
    mut key: &str,
) -> Option<(&'a String, &'a ValueSource)> {
    loop {
        if let Some(found) = value_sources.get_key_value(key) {
            return Some(found);
        }
        key = key.rsplit_once(['.', '['])?.0;
    }
}

/// The prefix of every environment variable that sets a setting.
pub(super) const PREFIX: &str = "COGNITO_LOOKUP_";
