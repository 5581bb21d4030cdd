//! What one caller's calls wait for at the store; pure.

use tokio::time::Instant;

/// The calls of one caller in one category, or the background calls.
#[derive(Debug)]
pub(in crate::users::limiter) struct Lane {
    /// How many calls the store is asked for.
    asked: usize,
    /// When it has said that the next may begin.
    retry_at: Option<Instant>,
    /// How many calls the store may be asked for, if it is not 0: more, as long as it grants them.
    window: usize,
}

impl Default for Lane {
    fn default() -> Self {
        Self { asked: 0, retry_at: None, window: MOST_ASKED }
    }
}

impl Lane {
    /// Returns when the store may be asked for a call; none while it is asked for as many as it may.
    pub(in crate::users::limiter) fn opens_at(&self, now: Instant) -> Option<Instant> {
        (self.asked < self.window.max(1)).then(|| self.retry_at.map_or(now, |at| at.max(now)))
    }

    /// Returns when the next call may begin, as far as the store has said.
    pub(in crate::users::limiter) fn expected_at(&self, now: Instant) -> Instant {
        self.retry_at.map_or(now, |at| at.max(now))
    }

    pub(in crate::users::limiter) fn ask(&mut self) {
        self.asked += 1;
    }

    /// Notes an answer, or that none came.
    pub(in crate::users::limiter) fn answered(&mut self) {
        self.asked = self.asked.saturating_sub(1);
    }

    pub(in crate::users::limiter) fn granted(&mut self) {
        self.retry_at = None;
        self.window = (self.window + 1).min(MOST_ASKED);
    }

    pub(in crate::users::limiter) fn refused(&mut self, retry_at: Instant) {
        (self.retry_at, self.window) = (Some(retry_at), 0);
    }
}

// At a round trip of 1 ms, 4,000 calls a second.
const MOST_ASKED: usize = 4;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_refusal_lasts_until_its_time_and_then_one_call_is_asked_for() {
        let now = Instant::now();
        let later = now + Duration::from_millis(10);
        let mut lane = Lane::default();
        for _ in 0..MOST_ASKED {
            assert_eq!(lane.opens_at(now), Some(now));
            lane.ask();
        }
        assert_eq!(lane.opens_at(now), None);
        lane.answered();
        lane.refused(later);
        assert_eq!((lane.opens_at(now), lane.expected_at(now)), (None, later), "others are asked for");
        (1..MOST_ASKED).for_each(|_| lane.answered());
        assert_eq!(lane.opens_at(now), Some(later));
        lane.ask();
        assert_eq!(lane.opens_at(later), None);
        lane.answered();
        lane.granted();
        assert_eq!(lane.opens_at(later), Some(later));
        lane.ask();
        assert_eq!(lane.opens_at(later), None, "until it was granted too");
        lane.granted();
        assert_eq!(lane.opens_at(later), Some(later));
    }
}
