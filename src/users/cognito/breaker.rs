//! A circuit breaker for each operation. After calls in a row that Cognito has not answered in
//! time, further ones fail at once, until a probe is answered.
//!
//! The probe is the next call that a request needs. A call of our own would be about a dormant
//! user, and Cognito would bill that user as active.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use tracing::{info, warn};

use super::super::{Failure, limiter::QuotaCategory};
use crate::{pool::PoolId, telemetry::metrics::upstream::UpstreamMetrics};

/// The breakers of one pool.
#[derive(Debug)]
pub(super) struct Breakers {
    pool: PoolId,
    metrics: UpstreamMetrics,
    circuits: [Mutex<Circuit>; QuotaCategory::ALL.len()],
}

impl Breakers {
    pub(super) fn new(pool: &PoolId, metrics: &UpstreamMetrics) -> Self {
        for category in QuotaCategory::ALL {
            metrics.set_circuit_open(pool.as_str(), category.operation(), false);
        }
        Self { pool: pool.clone(), metrics: metrics.clone(), circuits: Default::default() }
    }

    /// Fails if a call would, with the time after which to try again. Changes nothing.
    pub(super) fn check(&self, category: QuotaCategory) -> Result<(), Failure> {
        self.circuit(category).refusal(Instant::now()).map_or(Ok(()), |wait| Err(Failure::CircuitOpen(wait)))
    }

    /// Begins a call, which is the probe if one is due. Fails as [`check`](Self::check) does.
    pub(super) fn begin(&self, category: QuotaCategory) -> Result<GuardedCall<'_>, Failure> {
        let is_probe = self.circuit(category).begin(Instant::now()).map_err(Failure::CircuitOpen)?;
        Ok(GuardedCall { breakers: self, category, is_probe, outcome: Outcome::TimedOut })
    }

    fn end(&self, call: &GuardedCall<'_>) {
        let changed = self.circuit(call.category).end(call.outcome, call.is_probe, Instant::now());
        let (pool, operation) = (&self.pool, call.category.operation());
        match changed {
            Some(true) => warn!(
                pool.id = %pool, aws.operation = operation,
                "Cognito does not answer in time; calls fail at once until it does"
            ),
            Some(false) => info!(pool.id = %pool, aws.operation = operation, "Cognito answers again"),
            None => return,
        }
        self.metrics.set_circuit_open(pool.as_str(), operation, changed == Some(true));
    }

    fn circuit(&self, category: QuotaCategory) -> MutexGuard<'_, Circuit> {
        let [reads, lists, groups] = &self.circuits;
        let circuit = match category {
            QuotaCategory::UserReads => reads,
            QuotaCategory::Lists => lists,
            QuotaCategory::GroupReads => groups,
        };
        circuit.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call and its retry. Dropping it reports its last outcome, which is a timeout if there is none.
#[derive(Debug)]
pub(super) struct GuardedCall<'a> {
    breakers: &'a Breakers,
    category: QuotaCategory,
    /// A probe is not retried.
    pub(super) is_probe: bool,
    pub(super) outcome: Outcome,
}

impl Drop for GuardedCall<'_> {
    fn drop(&mut self) {
        self.breakers.end(self);
    }
}

/// What a call says about Cognito.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Outcome {
    /// Cognito responded, with whatever status.
    Answered,
    /// The connection failed, so there was nothing to wait for.
    Failed,
    TimedOut,
}

/// The state of one breaker.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Circuit {
    /// Calls are made. Counts the timeouts since the last answer.
    Closed { timeouts: u32 },
    /// Calls fail at once. The first one after `until` is the probe, unless it comes so late that
    /// nothing is known. `wait` was the time up to `until`.
    Open { until: Instant, wait: Duration },
    /// A probe is in flight, and all other calls fail at once.
    Probing { wait: Duration },
}

impl Default for Circuit {
    fn default() -> Self {
        Self::Closed { timeouts: 0 }
    }
}

impl Circuit {
    fn refusal(self, now: Instant) -> Option<Duration> {
        match self {
            Self::Open { until, .. } if until > now => Some(until - now),
            Self::Closed { .. } | Self::Open { .. } => None,
            Self::Probing { .. } => Some(FIRST_WAIT),
        }
    }

    /// Returns whether the call is the probe, or fails with the time after which to try again.
    fn begin(&mut self, now: Instant) -> Result<bool, Duration> {
        if let Some(wait) = self.refusal(now) {
            return Err(wait);
        }
        match *self {
            Self::Open { until, wait } if now < until + LAST_WAIT => *self = Self::Probing { wait },
            // What was seen so long ago must not make one request wait for the probe of another.
            Self::Open { .. } | Self::Closed { .. } | Self::Probing { .. } => return Ok(false),
        }
        Ok(true)
    }

    /// Records the outcome of a call. Returns whether the breaker is open from now on, if that
    /// changed.
    fn end(&mut self, outcome: Outcome, is_probe: bool, now: Instant) -> Option<bool> {
        match (*self, outcome) {
            (Self::Closed { .. }, Outcome::Answered) => *self = Self::default(),
            (_, Outcome::Answered) => {
                *self = Self::default();
                return Some(false);
            }
            (Self::Closed { timeouts }, Outcome::TimedOut) if timeouts + 1 < MAX_TIMEOUTS => {
                *self = Self::Closed { timeouts: timeouts + 1 };
            }
            (Self::Closed { .. }, Outcome::TimedOut) => {
                *self = Self::Open { until: now + FIRST_WAIT, wait: FIRST_WAIT };
                return Some(true);
            }
            (Self::Probing { wait }, _) if is_probe => {
                let wait = (wait * 2).min(LAST_WAIT);
                *self = Self::Open { until: now + wait, wait };
            }
            (Self::Open { until, wait }, Outcome::TimedOut) if until + LAST_WAIT <= now => {
                *self = Self::Open { until: now + wait, wait };
            }
            // A call that began before the breaker opened, or one that says nothing.
            _ => {}
        }
        None
    }
}

const MAX_TIMEOUTS: u32 = 3;
const FIRST_WAIT: Duration = Duration::from_secs(1);
// So long, at most, calls still fail after Cognito has returned.
const LAST_WAIT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_in_a_row_open_the_breaker_and_an_answer_closes_it() {
        let epoch = Instant::now();
        let at = |milliseconds: u64| epoch + Duration::from_millis(milliseconds);
        let begin = |circuit: &mut Circuit, time| circuit.begin(at(time)).map_err(|wait| wait.as_millis());
        let mut circuit = Circuit::default();
        // (time, outcome of a call that began when the breaker was closed, change)
        let calls = [
            (0, Outcome::TimedOut, None),
            (1, Outcome::TimedOut, None),
            (2, Outcome::Failed, None),
            (3, Outcome::Answered, None),
            (4, Outcome::TimedOut, None),
            (5, Outcome::TimedOut, None),
            (6, Outcome::Failed, None),
            (10, Outcome::TimedOut, Some(true)),
            (11, Outcome::TimedOut, None),
        ];
        for (time, outcome, change) in calls {
            assert_eq!(circuit.end(outcome, false, at(time)), change, "{time}");
        }
        assert_eq!(begin(&mut circuit, 510), Err(500));
        assert_eq!(begin(&mut circuit, 1010), Ok(true), "the probe");
        assert_eq!(begin(&mut circuit, 1011), Err(1000), "one probe at a time");
        assert_eq!(circuit.end(Outcome::TimedOut, false, at(1500)), None, "a late one is not the probe");
        assert_eq!(begin(&mut circuit, 1501), Err(1000));
        let mut time = 2000;
        for wait in [2000, 4000, 5000, 5000] {
            assert_eq!(circuit.end(Outcome::TimedOut, true, at(time)), None);
            assert_eq!(begin(&mut circuit, time + wait - 1), Err(1), "{wait}");
            time += wait;
            assert_eq!(begin(&mut circuit, time), Ok(true), "{wait}");
        }
        assert_eq!(circuit.end(Outcome::TimedOut, true, at(time)), None);
        time += 10_000;
        assert_eq!(begin(&mut circuit, time), Ok(false), "no probe after a long pause");
        assert_eq!(begin(&mut circuit, time), Ok(false), "so calls do not exclude each other");
        assert_eq!(circuit.end(Outcome::TimedOut, false, at(time)), None);
        assert_eq!(begin(&mut circuit, time), Err(5000), "it is open again");
        assert_eq!(circuit.end(Outcome::Answered, false, at(time)), Some(false));
        assert_eq!(circuit, Circuit::default());
        assert_eq!(begin(&mut circuit, time), Ok(false));
    }

    #[test]
    fn a_late_answer_closes_the_breaker_and_a_refused_connection_keeps_it_open() {
        let now = Instant::now();
        let open = Circuit::Open { until: now, wait: FIRST_WAIT };
        for (mut circuit, outcome, is_probe, expected) in [
            (open, Outcome::Answered, false, Some(false)),
            (Circuit::Probing { wait: FIRST_WAIT }, Outcome::Answered, false, Some(false)),
            (Circuit::Probing { wait: FIRST_WAIT }, Outcome::Failed, true, None),
        ] {
            assert_eq!(circuit.end(outcome, is_probe, now), expected);
            assert_eq!(matches!(circuit, Circuit::Closed { .. }), expected.is_some());
        }
    }
}
