//! What the log says about messages. It never quotes one.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use tracing::{info, warn};

/// Logs what an operator should know once, however many messages have it in common.
#[derive(Debug, Default)]
pub(super) struct Notices {
    malformed: Mutex<Option<Instant>>,
    names: Mutex<HashSet<Box<str>>>,
}

impl Notices {
    /// Logs that a message is no event, once a minute. Returns whether it did.
    pub(super) fn malformed(&self, receives: u32) -> bool {
        let mut last = self.malformed.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = last.is_none_or(|at| at.elapsed() >= MINUTE);
        if is_due {
            *last = Some(Instant::now());
            warn!(receives, "a message of the queue of changes is no event; the dead-letter queue gets it");
        }
        is_due
    }

    /// Logs the first event of each name that is not in the table of events. Returns whether it did.
    pub(super) fn unknown(&self, name: &str) -> bool {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = names.len() < MAX_NAMES && names.insert(name.into());
        if is_new {
            info!(event = name, "the queue of changes has events of a name that the service does not use");
        }
        is_new
    }
}

const MINUTE: Duration = Duration::from_secs(60);
const MAX_NAMES: usize = 100;

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_log_stays_short() {
        let notices = Notices::default();
        let mut logged = Vec::new();
        for second in 0..130 {
            if notices.malformed(1) {
                logged.push(second);
            }
            advance(Duration::from_secs(1)).await;
        }
        assert_eq!(logged, [0, 60, 120]);
        assert!(notices.unknown("A") && notices.unknown("B") && !notices.unknown("A"));
        let more = (0..1_000).filter(|n| notices.unknown(&format!("C{n}"))).count();
        assert_eq!(more, MAX_NAMES - 2);
    }
}
