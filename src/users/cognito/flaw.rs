//! What is wrong with an answer of Cognito.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use thiserror::Error;
use tracing::{error, warn};

use crate::pool::PoolId;

/// Why an answer is not the user looked up.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub(super) enum Flaw {
    #[error("it is another user")]
    AnotherUser,
    #[error("it says two things of one user")]
    Contradictory,
    /// It means nothing without this field.
    #[error("{0} cannot be read")]
    Unreadable(String),
}

impl Flaw {
    pub(super) fn unreadable(field: &str) -> Self {
        Self::Unreadable(field.to_owned())
    }
}

/// Logs each unreadable field once, because every user of a pool may have it.
#[derive(Debug)]
pub(super) struct FieldLog {
    pub(super) pool: PoolId,
    pub(super) logged: Mutex<BTreeSet<String>>,
}

impl FieldLog {
    /// Logs a field for the first time. If it was left out, the rest of the answer was used.
    pub(super) fn note(&self, field: String, is_left_out: bool) {
        let is_new = self.logged.lock().unwrap_or_else(PoisonError::into_inner).insert(field.clone());
        match (is_new, is_left_out) {
            (false, _) => {}
            (true, true) => {
                warn!(pool.id = %self.pool, aws.field = field, "Cognito's answer is used without a field that cannot be read; logged once");
            }
            (true, false) => {
                error!(pool.id = %self.pool, aws.field = field, "Cognito's answer is not used because a field cannot be read; logged once");
            }
        }
    }
}
