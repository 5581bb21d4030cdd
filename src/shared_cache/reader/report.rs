//! What is wrong with the settings of the shared cache, or unwise.

use std::{fmt::Display, path::Path};

use crate::{config::ErrorCollector, key_file::is_world_readable};

/// Collects errors and warnings of the settings in `[shared_cache]`, which name their field only.
#[derive(Debug)]
pub(super) struct Report<'a, 'e> {
    pub(super) errors: &'a mut ErrorCollector<'e>,
    /// A setting's key, and why it is unwise.
    pub(super) warnings: Vec<(String, String)>,
}

impl<'a, 'e> Report<'a, 'e> {
    pub(super) fn new(errors: &'a mut ErrorCollector<'e>) -> Self {
        Self { errors, warnings: Vec::new() }
    }

    /// Adds an error; returns none.
    pub(super) fn refuse<T>(&mut self, field: &str, problem: impl Display) -> Option<T> {
        self.errors.add(key(field), problem);
        None
    }

    /// Adds an error in the file that a field names.
    pub(super) fn refuse_file(&mut self, field: &str, problem: String) {
        self.errors.add_file_error(key(field), problem);
    }

    /// Adds a warning, which says after the key what is unwise.
    pub(super) fn warn(&mut self, field: &str, problem: &str) {
        self.warnings.push((key(field), format!("{} {problem}", key(field))));
    }

    /// Adds a warning if all users of this machine can read the file that a field names.
    pub(super) fn warn_of_readers(&mut self, field: &str, path: &str) {
        if is_world_readable(Path::new(path)) {
            let message = format!("all users of this machine can read {}", key(field));
            self.warnings.push((key(field), message));
        }
    }
}

fn key(field: &str) -> String {
    format!("shared_cache.{field}")
}
