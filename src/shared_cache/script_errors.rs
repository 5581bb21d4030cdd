//! Logs the errors of scripts, which are bugs, or an ACL that lacks a command.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use tracing::error;

use super::fault::{Fault, FaultKind};

/// When an error of each script was logged last.
#[derive(Debug, Default)]
pub(super) struct ScriptErrors(Mutex<HashMap<&'static str, Instant>>);

impl ScriptErrors {
    /// Logs a fault if it is an error of this script, at most once a minute.
    pub(super) fn report(&self, script: &'static str, fault: &Fault) {
        if fault.kind == FaultKind::Script && self.is_due(script) {
            error!(script, cause = fault.cause, "a script of the shared cache failed");
        }
    }

    fn is_due(&self, script: &'static str) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if last.get(script).is_some_and(|logged| now < *logged + INTERVAL) {
            return false;
        }
        last.insert(script, now);
        true
    }
}

const INTERVAL: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_error_of_each_script_is_logged_once_a_minute() {
        let errors = ScriptErrors::default();
        for (after, script, expected) in
            [(0, "look", true), (1, "look", false), (0, "put", true), (58, "look", false), (1, "look", true)]
        {
            tokio::time::advance(Duration::from_secs(after)).await;
            assert_eq!(errors.is_due(script), expected, "{script} after {after} s");
        }
    }
}
