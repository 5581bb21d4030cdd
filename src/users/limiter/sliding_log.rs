//! A sliding-window log of the calls that count towards a limit; pure.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

/// The calls in flight, and those that ended less than a window ago.
///
/// Cognito counts a call at some time between its start and its end, which may be late: a new
/// connection, TLS and the network come first. A call counts here from its start until a window
/// after its end. So if no more than the limit ever count here, no second at Cognito has more.
#[derive(Clone, Debug, Default)]
pub(super) struct SlidingLog {
    in_flight: usize,
    /// When each call that has ended leaves the window, in order.
    leaves: VecDeque<Instant>,
    /// Until when the log of all replicas is full.
    closed_until: Option<Instant>,
}

impl SlidingLog {
    /// Logs the start of a call, and drops those that left the window before `now`.
    pub(super) fn begin(&mut self, now: Instant) {
        self.leaves.drain(..self.gone(now));
        self.in_flight += 1;
    }

    /// Logs the end of a call, which leaves the window at `leaves_at`.
    pub(super) fn end(&mut self, leaves_at: Instant) {
        self.in_flight = self.in_flight.saturating_sub(1);
        let place = self.leaves.partition_point(|other| *other <= leaves_at);
        self.leaves.insert(place, leaves_at);
    }

    /// As [`end`](Self::end), for a call that may have begun beyond `limit`: it leaves the window
    /// as late as if it had waited.
    pub(super) fn end_in_turn(&mut self, limit: usize, leaves_at: Instant) {
        let earlier = self.leaves.len().checked_sub(limit).and_then(|n| self.leaves.get(n));
        self.end(earlier.map_or(leaves_at, |earlier| leaves_at.max(*earlier + WINDOW)));
    }

    /// Lets no call begin before then.
    pub(super) fn close_until(&mut self, at: Instant) {
        self.closed_until = Some(at);
    }

    /// Returns how many calls count at `now`.
    pub(super) fn count(&self, now: Instant) -> usize {
        self.in_flight + self.leaves.len() - self.gone(now)
    }

    /// Returns when `limit` allows one more call after `queued` others, at least 1. Exact if
    /// nothing is queued, unless calls in flight must end first. A later call takes the place of
    /// an earlier one after `turnover`.
    pub(super) fn opens_at(&self, limit: usize, queued: usize, turnover: Duration, now: Instant) -> Instant {
        let limit = limit.max(1);
        let turns = u32::try_from(queued / limit).unwrap_or(u32::MAX);
        let first = match (self.count(now) + queued % limit).checked_sub(limit) {
            None => now,
            Some(nth) => self
                .leaves
                .get(self.gone(now) + nth)
                .copied()
                .unwrap_or_else(|| now + if queued == 0 { WINDOW } else { turnover }),
        };
        let first = self.closed_until.map_or(first, |at| at.max(first));
        first + turnover.saturating_mul(turns)
    }

    /// Returns when no call counts any more, if none begins; none if none counts at `now`.
    pub(super) fn empty_at(&self, now: Instant) -> Option<Instant> {
        let last = self.leaves.back().copied().max(self.closed_until).filter(|at| *at > now);
        if self.in_flight > 0 { Some(now + WINDOW) } else { last }
    }

    fn gone(&self, now: Instant) -> usize {
        self.leaves.partition_point(|at| *at <= now)
    }
}

// The second of Cognito's quotas, and 1 % for clocks that do not run equally fast.
pub(super) const WINDOW: Duration = Duration::from_millis(1010);

#[cfg(test)]
mod tests {
    use super::*;

    type Case = (&'static str, &'static [u64], usize, u64, usize, u64);

    #[test]
    fn a_call_counts_until_a_window_after_its_end() {
        let begin = Instant::now();
        let at = |ms: u64| begin + Duration::from_millis(ms);
        // At 2 calls a window: the ends of the calls that have ended, how many are in flight, the time of a
        // request, how many wait before it, the time at which it may start.
        let table: [Case; 12] = [
            ("no call", &[], 0, 0, 0, 0),
            ("one ended", &[0], 0, 1, 0, 1),
            ("both ended", &[0, 500], 0, 600, 0, 1010),
            ("one has left", &[0, 500], 0, 1010, 0, 1010),
            ("both have left", &[0, 500], 0, 9000, 0, 9000),
            ("one in flight", &[0], 1, 600, 0, 1010),
            ("both in flight", &[], 2, 600, 0, 1610),
            ("as many more than allowed, after a cut", &[0, 100, 200, 300], 0, 400, 0, 1210),
            ("one waits", &[0, 500], 0, 600, 1, 1510),
            ("two wait", &[0, 500], 0, 600, 2, 1010 + 1060),
            ("four wait", &[0, 500], 0, 600, 4, 1010 + 2 * 1060),
            ("one waits and one may start", &[0], 0, 600, 1, 1010),
        ];
        for (case, ended, in_flight, now, queued, expected) in table {
            let mut log = SlidingLog { in_flight: in_flight + ended.len(), ..SlidingLog::default() };
            ended.iter().for_each(|ms| log.end(at(*ms) + WINDOW));
            let opens_at = log.opens_at(2, queued, Duration::from_millis(1060), at(now));
            assert_eq!(opens_at, at(expected), "{case}");
        }
    }

    #[test]
    fn a_call_beyond_the_limit_is_charged_later() {
        let begin = Instant::now();
        let mut log = SlidingLog::default();
        for _ in 0..3 {
            log.begin(begin);
            log.end_in_turn(1, begin + WINDOW);
        }
        assert_eq!(log.opens_at(1, 0, WINDOW, begin), begin + 3 * WINDOW);
        assert_eq!(log.empty_at(begin), Some(begin + 3 * WINDOW));
        assert_eq!(log.empty_at(begin + 3 * WINDOW), None);
    }

    #[test]
    fn what_has_left_is_forgotten() {
        let mut log = SlidingLog::default();
        let mut now = Instant::now();
        for _ in 0..1000 {
            now += WINDOW;
            log.begin(now);
            log.end(now + WINDOW);
        }
        assert_eq!((log.leaves.len(), log.count(now)), (1, 1));
    }
}
