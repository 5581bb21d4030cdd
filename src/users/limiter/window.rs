//! A window of tokens, one a call: pure, of (what was taken, now) alone.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

/// When each token was or will be taken, in order. A token comes back one second later, not steadily, so that no
/// second sees more calls than there are tokens; and no quarter of one sees more than a quarter of them, so that what
/// the network bunches up is no burst.
#[derive(Clone, Debug, Default)]
pub(super) struct SlidingWindow(VecDeque<Instant>);

impl SlidingWindow {
    /// Returns the earliest time, at or after `from`, when one of `size` tokens is there; with none in the window at
    /// all, as with one.
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

    /// Takes a token at `at`, which [`next`](Self::next) gave; forgets what is over by `now`.
    pub(super) fn take(&mut self, at: Instant, now: Instant) {
        while self.0.front().is_some_and(|taken| *taken + SECOND <= now) {
            self.0.pop_front();
        }
        let place = self.0.partition_point(|taken| *taken <= at);
        self.0.insert(place, at);
    }

    /// Returns how many tokens are not back by `now`, those that are taken for later included.
    pub(super) fn taken(&self, now: Instant) -> usize {
        self.0.len() - self.0.partition_point(|taken| *taken + SECOND <= now)
    }

    /// Returns true if and only if every token is back by `now`.
    pub(super) fn is_full(&self, now: Instant) -> bool {
        self.full_at().is_none_or(|at| at <= now)
    }

    /// Returns when every token is back; none if none was taken.
    pub(super) fn full_at(&self) -> Option<Instant> {
        self.0.back().map(|taken| *taken + SECOND)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The `size` last calls that a span around `at` may hold must not all lie in it, whether before or after `at`.
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
        // Of four tokens: when each was taken, when one is asked for, when there is one.
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
                // Some wait for something else first, and so take a token that is behind others'.
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
        assert!(!window.is_full(begin + Duration::from_millis(999_999)));
        assert!(window.is_full(begin + Duration::from_secs(1000)));
    }
}
