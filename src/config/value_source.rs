//! Where a value came from.

use std::{
    collections::BTreeMap,
    fmt::{self, Display, Formatter},
    path::PathBuf,
};

/// Where a value came from; sources sort from the file to the default.
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
    /// No source set it.
    #[default]
    Default,
}

impl ValueSource {
    /// How `key` is written in this source.
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
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// The entry of `key`, or else that of its nearest parent that has one.
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

/// How the name of every environment variable of the service begins.
pub(super) const PREFIX: &str = "COGNITO_LOOKUP_";
