//! Whether the sink accepts records.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::Instant;

/// The health of the sink, as the writer finds it.
#[derive(Debug, Default)]
pub(super) struct SinkHealth {
    /// Whether the last write failed.
    is_failing: AtomicBool,
    /// When the write in progress began.
    writing_since: Mutex<Option<Instant>>,
}

impl SinkHealth {
    pub(super) fn begin_write(&self) {
        *self.writing_since() = Some(Instant::now());
    }

    pub(super) fn end_write(&self, is_written: bool) {
        *self.writing_since() = None;
        self.is_failing.store(!is_written, Relaxed);
    }

    /// Returns whether the last write succeeded and none has hung for a second.
    pub(super) fn is_good(&self) -> bool {
        let is_stalled = self.writing_since().is_some_and(|since| since.elapsed() >= STALL);
        !is_stalled && !self.is_failing.load(Relaxed)
    }

    fn writing_since(&self) -> MutexGuard<'_, Option<Instant>> {
        self.writing_since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const STALL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_sink_is_bad_from_a_failed_or_hanging_write_until_the_next_good_one() {
        let health = SinkHealth::default();
        assert!(health.is_good(), "nothing was written yet");
        for (case, time, is_written, expected) in [
            ("a quick write", 0, true, [true, true]),
            ("a failed write", 0, false, [true, false]),
            ("another", 0, false, [false, false]),
            ("a slow one that succeeds", 1, true, [false, true]),
        ] {
            health.begin_write();
            tokio::time::advance(Duration::from_secs(time)).await;
            let during = health.is_good();
            health.end_write(is_written);
            assert_eq!([during, health.is_good()], expected, "{case}");
        }
    }
}
