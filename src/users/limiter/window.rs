//! A sliding-window log: the times of the calls of the last second; pure.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

/// The times at which calls were made or will be, in order. No window of one second holds more than
/// the rate. No quarter second holds more than a quarter of it, so that network jitter causes no
/// burst.
#[derive(Clone, Debug, Default)]
pub(super) struct SlidingWindow(VecDeque<Instant>);

impl SlidingWindow {
    /// Returns the earliest time, at or after `from`, at which `size` calls a second allow one
    /// more. A size of 0 counts as 1.
    pub(super) fn next(&self, size: usize, from: Instant) -> Instant {
        let spans = [(size, SECOND), (size.div_ceil(4), SECOND / 4)];
        let mut at = from;
        loop {
            let later = spans.iter().fold(at, |at, (size, span)| self.next_in(*size, *span, at));
            if later == at {
                return at;
            }
            at = later;
        }
    }

    /// Logs a call at `at`, which [`next`](Self::next) returned, and drops those over a second
    /// before `now`.
    pub(super) fn take(&mut self, at: Instant, now: Instant) {
        while self.0.front().is_some_and(|taken| *taken + SECOND <= now) {
            self.0.pop_front();
        }
        let place = self.0.partition_point(|taken| *taken <= at);
        self.0.insert(place, at);
    }

    /// Returns how many calls count at `now`, those reserved for later included.
    pub(super) fn taken(&self, now: Instant) -> usize {
        self.0.len() - self.0.partition_point(|taken| *taken + SECOND <= now)
    }

    /// Returns whether no call counts at `now`.
    pub(super) fn is_empty(&self, now: Instant) -> bool {
        self.empty_at().is_none_or(|at| at <= now)
    }

    /// Returns when no call counts any more; none if none does.
    pub(super) fn empty_at(&self) -> Option<Instant> {
        self.0.back().map(|taken| *taken + SECOND)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// A span that contains `at` must hold fewer than `size` other calls, whether before or after
    /// `at`.
    fn next_in(&self, size: usize, span: Duration, mut at: Instant) -> Instant {
        loop {
            let within = self.0.partition_point(|taken| *taken < at + span);
            let first = within.checked_sub(size.max(1)).and_then(|n| self.0.get(n));
            match first {
                Some(first) if *first + span > at => at = *first + span,
                _ => return at,
            }
        }
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_back_a_second_after_it_was_taken() {
        let begin = Instant::now();
        let at = |ms: u64| begin + Duration::from_millis(ms);
        // At 4 calls a second: the calls logged, the time of a request, the time at which it may
        // start.
        let table: [(&str, &[u64], u64, u64); 10] = [
            ("none taken", &[], 0, 0),
            ("one a quarter of a second", &[0], 1, 250),
            ("and then at once", &[0], 250, 250),
            ("all taken", &[0, 250, 500, 750], 750, 1000),
            ("the second not before its quarter is over", &[0, 250, 500, 750, 1000], 1000, 1250),
            ("long ago", &[0, 250, 500, 750], 5000, 5000),
            ("one to be taken later", &[300], 0, 0),
            ("one to be taken so soon that both would share a quarter", &[200], 0, 450),
            ("a queue", &[1000, 1250, 1500, 1750], 900, 2000),
            ("a gap in a queue", &[0, 1000], 100, 250),
        ];
        for (case, taken, asked, expected) in table {
            let mut window = SlidingWindow::default();
            taken.iter().for_each(|ms| window.take(at(*ms), begin));
            assert_eq!(window.next(4, at(asked)), at(expected), "{case}");
        }
    }

    #[test]
    fn no_second_sees_more_calls_than_tokens_whoever_waits_how_long() {
        for seed in 0..200 {
            let mut random = fastrand::Rng::with_seed(seed);
            let size = random.usize(1..40);
            let (mut window, mut now, mut all) = (SlidingWindow::default(), Instant::now(), Vec::new());
            for _ in 0..300 {
                now += Duration::from_millis(random.u64(0..30));
                // Some calls wait for another limit first, and so are logged out of order.
                let from = now + Duration::from_millis(if random.bool() { 0 } else { random.u64(0..900) });
                let at = window.next(size, from);
                if at < now + Duration::from_secs(3) {
                    window.take(at, now);
                    all.push(at);
                }
            }
            all.sort_unstable();
            for (span, most) in [(SECOND, size), (SECOND / 4, size.div_ceil(4))] {
                let over =
                    all.iter().zip(all.iter().skip(most)).find(|(first, last)| **last - **first < span);
                assert!(over.is_none(), "seed {seed}: more than {most} calls in {span:?}");
            }
        }
    }

    #[test]
    fn what_is_over_is_forgotten() {
        let begin = Instant::now();
        let mut window = SlidingWindow::default();
        for second in 0..1000 {
            let now = begin + Duration::from_secs(second);
            window.take(window.next(4, now), now);
        }
        assert_eq!(window.0.len(), 1);
        assert!(!window.is_empty(begin + Duration::from_millis(999_999)));
        assert!(window.is_empty(begin + Duration::from_secs(1000)));
    }
}
