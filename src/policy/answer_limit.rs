//! The limit on the answers that one caller gets, whether from the cache or from Cognito.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use tokio::time::Instant;

/// A token bucket of one second's answers (GCRA, "generic cell rate algorithm"), shared by all serving
/// threads of this process.
#[derive(Debug)]
pub(super) struct AnswerLimit {
    start: Instant,
    /// Nanoseconds from one answer to the next.
    interval: u64,
    /// When the bucket is full again, in nanoseconds since `start`.
    full_at: AtomicU64,
}

impl AnswerLimit {
    /// Allows so many answers a second, at least one.
    pub(super) fn new(per_second: usize) -> Self {
        let interval = SECOND / u64::try_from(per_second.max(1)).unwrap_or(u64::MAX);
        Self { start: Instant::now(), interval, full_at: AtomicU64::new(0) }
    }

    /// Takes the answers of one call from the bucket, or returns after which time there is one again.
    /// A batch is not divided: it needs one answer in the bucket, and what it takes beyond delays the
    /// next call.
    pub(super) fn take(&self, answers: usize) -> Result<(), Duration> {
        let now = u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let taken = self.interval.saturating_mul(u64::try_from(answers).unwrap_or(u64::MAX));
        let take = |full_at: u64| {
            let full_at = full_at.max(now);
            (full_at + self.interval <= now + SECOND).then(|| full_at.saturating_add(taken))
        };
        match self.full_at.try_update(Relaxed, Relaxed, take) {
            Ok(_) => Ok(()),
            Err(full_at) => Err(Duration::from_nanos(full_at.max(now) + self.interval - now - SECOND)),
        }
    }
}

const SECOND: u64 = 1_000_000_000;

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_second_has_so_many_answers_and_then_one_for_each_interval() {
        let limit = AnswerLimit::new(10);
        assert_eq!((0..20).filter(|_| limit.take(1).is_ok()).count(), 10);
        assert_eq!(limit.take(1), Err(Duration::from_millis(100)));
        advance(Duration::from_millis(99)).await;
        assert_eq!(limit.take(1), Err(Duration::from_millis(1)));
        advance(Duration::from_millis(1)).await;
        assert_eq!((limit.take(1), limit.take(1)), (Ok(()), Err(Duration::from_millis(100))));
        advance(Duration::from_secs(60)).await;
        assert_eq!((0..20).filter(|_| limit.take(1).is_ok()).count(), 10, "no more than one second's");
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_beyond_the_limit_delays_the_next_call() {
        let limit = AnswerLimit::new(10);
        assert_eq!(limit.take(100), Ok(()));
        assert_eq!(limit.take(1), Err(Duration::from_millis(9_100)));
        advance(Duration::from_millis(9_100)).await;
        assert_eq!(limit.take(1), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_may_be_as_high_as_a_setting_can_be() {
        let limit = AnswerLimit::new(100_000);
        let taken = (0..200_000).filter(|_| limit.take(1).is_ok()).count();
        assert_eq!(taken, 100_000);
    }
}
