//! The circuit breaker of the calls to the store. Calls that fail or are slow open it, and only the
//! supervisor's probes close it, so no request ever waits for a probe.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

use super::fault::FaultKind;

/// The state of the breaker. It begins open, until the first connection has answered once.
#[derive(Debug)]
pub(super) struct Breaker {
    /// An answer that takes longer is slow: half of the time limit of a call.
    slow: Duration,
    state: State,
}

#[derive(Debug)]
enum State {
    Closed {
        failures_in_a_row: u32,
        window: Window,
    },
    /// Closes after this many more quick answers in a row.
    Open {
        answers_to_close: u32,
    },
}

/// The calls of the last second.
#[derive(Debug, Default)]
struct Window {
    /// When each call ended, and whether it failed or was slow; the oldest first.
    calls: VecDeque<(Instant, bool)>,
    bad: usize,
}

impl Breaker {
    /// Returns the breaker of calls that have this time limit.
    pub(super) fn new(time_limit: Duration) -> Self {
        Self { slow: time_limit / 2, state: State::Open { answers_to_close: 1 } }
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.state, State::Open { .. })
    }

    /// Records the end of a call after `took`: none for an answer, else its failure. Returns whether
    /// this opens the breaker. A call that was cancelled must not be recorded.
    pub(super) fn record(&mut self, failure: Option<FaultKind>, took: Duration, now: Instant) -> bool {
        let State::Closed { failures_in_a_row, window } = &mut self.state else { return false };
        // An answer of the store, though not the one that the caller wanted.
        let failure = failure.filter(|kind| *kind != FaultKind::Script);
        *failures_in_a_row = if failure.is_some() { *failures_in_a_row + 1 } else { 0 };
        window.add(failure.is_some() || took > self.slow, now);
        let opens = failure.is_some_and(FaultKind::is_certain)
            || *failures_in_a_row >= MAX_FAILURES_IN_A_ROW
            || window.is_bad();
        if opens {
            self.state = State::Open { answers_to_close: ANSWERS_TO_CLOSE };
        }
        opens
    }

    /// Records a probe of the supervisor while the breaker is open: how long its answer took, or
    /// none if it failed. Returns whether this closes the breaker.
    pub(super) fn probed(&mut self, answered_after: Option<Duration>) -> bool {
        let State::Open { answers_to_close } = &mut self.state else { return false };
        if answered_after.is_none_or(|took| took > self.slow) {
            *answers_to_close = ANSWERS_TO_CLOSE;
            return false;
        }
        *answers_to_close = answers_to_close.saturating_sub(1);
        let closes = *answers_to_close == 0;
        if closes {
            self.state = State::Closed { failures_in_a_row: 0, window: Window::default() };
        }
        closes
    }
}

impl Window {
    fn add(&mut self, is_bad: bool, now: Instant) {
        self.calls.push_back((now, is_bad));
        self.bad += usize::from(is_bad);
        while self.calls.front().is_some_and(|(ended, _)| *ended + WINDOW <= now)
            || self.calls.len() > MAX_CALLS
        {
            let oldest = self.calls.pop_front();
            self.bad -= usize::from(oldest.is_some_and(|(_, is_bad)| is_bad));
        }
    }

    fn is_bad(&self) -> bool {
        self.calls.len() >= MIN_CALLS && self.bad * 2 >= self.calls.len()
    }
}

/// Consecutive failures that open the breaker.
pub(super) const MAX_FAILURES_IN_A_ROW: u32 = 5;
const ANSWERS_TO_CLOSE: u32 = 3;
const WINDOW: Duration = Duration::from_secs(1);
/// With fewer calls a share says little.
const MIN_CALLS: usize = 20;
/// A bound on memory. At a higher rate the window is shorter than a second.
const MAX_CALLS: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(50);
    const QUICK: Duration = Duration::from_millis(25);
    const SLOW: Duration = Duration::from_millis(26);

    fn closed() -> Breaker {
        let mut breaker = Breaker::new(LIMIT);
        assert!(breaker.probed(Some(QUICK)), "one answer is enough at the start");
        breaker
    }

    /// Records calls, each with a number of repetitions, at one time. Returns after which the breaker
    /// opened.
    fn opened_after(calls: &[(usize, Option<FaultKind>, Duration)]) -> Option<usize> {
        let (mut breaker, now) = (closed(), Instant::now());
        let calls = calls.iter().flat_map(|(count, failure, took)| vec![(*failure, *took); *count]);
        for (n, (failure, took)) in calls.enumerate() {
            let opened = breaker.record(failure, took, now);
            assert_eq!(opened, breaker.is_open());
            if opened {
                return Some(n + 1);
            }
        }
        None
    }

    #[test]
    fn failures_open_the_breaker() {
        use FaultKind::*;
        let [ok, slow] = [QUICK, SLOW].map(|took| move |count| (count, None, took));
        let bad = |count, kind| (count, Some(kind), QUICK);
        let table = [
            ("answers", vec![ok(1000)], None),
            ("four in a row", vec![bad(4, Timeout), ok(1), bad(4, Busy)], None),
            ("five in a row", vec![ok(1), bad(2, Timeout), bad(2, Busy), bad(1, Timeout)], Some(6)),
            ("a slow answer between", vec![bad(4, Timeout), slow(1), bad(4, Timeout)], None),
            ("19 slow ones", vec![slow(19)], None),
            ("20 slow ones", vec![slow(20)], Some(20)),
            ("half are slow", vec![ok(20), slow(19), slow(1)], Some(40)),
            ("fewer than half are slow", vec![ok(20), slow(19), ok(1)], None),
            ("half failed or were slow", vec![ok(11), bad(4, Timeout), slow(6), slow(1)], Some(22)),
            ("script errors", vec![bad(1000, Script)], None),
            ("a script error between", vec![bad(4, Timeout), bad(1, Script), bad(4, Timeout)], None),
            ("closed", vec![ok(100), bad(1, Closed)], Some(101)),
            ("read-only", vec![bad(1, ReadOnly)], Some(1)),
            ("loading", vec![bad(1, NotReady)], Some(1)),
            ("full", vec![bad(1, Full)], Some(1)),
            ("credentials", vec![bad(1, Credentials)], Some(1)),
            ("mode", vec![bad(1, Mode)], Some(1)),
        ];
        for (case, calls, expected) in table {
            assert_eq!(opened_after(&calls), expected, "{case}");
        }
    }

    #[test]
    fn the_window_is_one_second() {
        for (step, expected) in [(52, Some(19)), (53, None), (200, None)] {
            let (mut breaker, start) = (closed(), Instant::now());
            let opened = (0..100).find(|n| {
                let now = start + Duration::from_millis(step * n);
                breaker.record(None, SLOW, now)
            });
            assert_eq!(opened, expected, "a slow answer each {step} ms");
        }
    }

    #[test]
    fn only_probes_close_the_breaker() {
        let (ok, slow, failed) = (Some(QUICK), Some(SLOW), None);
        let table = [
            (vec![ok, ok], false),
            (vec![ok, ok, ok], true),
            (vec![ok, ok, slow, ok, ok], false),
            (vec![ok, ok, failed, ok, ok], false),
            (vec![failed, ok, ok, ok], true),
        ];
        for (probes, closes) in table {
            let mut breaker = closed();
            assert!(breaker.record(Some(FaultKind::Closed), QUICK, Instant::now()));
            // Calls that began before.
            for _ in 0..10 {
                assert!(!breaker.record(None, QUICK, Instant::now()));
                assert!(
                    !breaker.record(Some(FaultKind::Closed), QUICK, Instant::now()),
                    "it is open already"
                );
            }
            let closed: Vec<_> = probes.iter().map(|probe| breaker.probed(*probe)).collect();
            assert_eq!((closed.last(), breaker.is_open()), (Some(&closes), !closes), "{probes:?}");
        }
    }

    #[test]
    fn a_closed_breaker_has_forgotten_earlier_calls() {
        let (mut breaker, now) = (closed(), Instant::now());
        assert!((0..20).any(|_| breaker.record(None, SLOW, now)));
        assert!((0..3).any(|_| breaker.probed(Some(QUICK))));
        assert!((0..19).all(|_| !breaker.record(None, SLOW, now)));
    }

    #[test]
    fn the_memory_of_the_window_is_bounded() {
        let (mut window, now) = (Window::default(), Instant::now());
        for n in 0..2 * MAX_CALLS {
            window.add(n < MAX_CALLS, now);
        }
        assert_eq!((window.calls.len(), window.bad), (MAX_CALLS, 0));
    }
}
