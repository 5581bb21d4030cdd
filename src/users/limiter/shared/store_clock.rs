//! What a replica knows of the clock of the store's server; pure.
//!
//! The logs of the rate limit are on that clock, and it may step. A reading that is old enough shows
//! that it did not, for as long as a call counts.

use std::time::Duration;

use tokio::time::Instant;

use crate::shared_cache::ServerTime;

/// The readings of the clock in the present epoch.
#[derive(Clone, Debug, Default)]
pub(in crate::users::limiter) struct StoreClock {
    /// The newest reading that was old enough when `newer` was made.
    older: Option<Reading>,
    newer: Option<Reading>,
    /// How long the last script took.
    round_trip: Duration,
}

/// The server's time, which a script read after it was sent and before its answer came.
#[derive(Clone, Copy, Debug)]
pub(in crate::users::limiter) struct Reading {
    pub(in crate::users::limiter) sent: Instant,
    pub(in crate::users::limiter) received: Instant,
    pub(in crate::users::limiter) server: ServerTime,
}

/// The times between which the server's clock must be when a script runs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::users::limiter) struct Bounds {
    pub(in crate::users::limiter) earliest: ServerTime,
    pub(in crate::users::limiter) latest: ServerTime,
    /// Whether the reading that they follow from is old enough.
    pub(in crate::users::limiter) is_watched: bool,
}

/// What a reading says about those before it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::users::limiter) enum Step {
    /// The clock ran on.
    None,
    Forward,
    Back,
}

impl StoreClock {
    /// Returns the bounds of a script that is sent now; none if the clock was not read, or so long
    /// ago that the bounds would be too far apart.
    pub(in crate::users::limiter) fn bounds(&self, now: Instant) -> Option<Bounds> {
        let watched =
            [self.newer, self.older].into_iter().flatten().find(|reading| reading.age(now) >= WATCH);
        let reading = watched.or(self.newer)?;
        let (earliest, latest) = (reading.earliest(now), reading.latest(now) + self.travel());
        let is_wide = latest.saturating_duration_since(earliest) > WIDEST;
        (!is_wide).then_some(Bounds { earliest, latest, is_watched: watched.is_some() })
    }

    /// Returns within which time the next script should be answered: twice the last round trip.
    pub(in crate::users::limiter) fn travel(&self) -> Duration {
        (self.round_trip * 2).clamp(LEAST_TRAVEL, MOST_TRAVEL)
    }

    /// Returns when the clock will have been watched for long enough, if it does not step.
    pub(in crate::users::limiter) fn watched_at(&self) -> Option<Instant> {
        Some(self.older.or(self.newer)?.received + WATCH)
    }

    /// Adds a reading. If the clock has stepped, those before it are dropped.
    pub(in crate::users::limiter) fn note(&mut self, reading: Reading) -> Step {
        self.round_trip = reading.received.saturating_duration_since(reading.sent);
        let known = [self.newer, self.older].into_iter().flatten();
        let step = known.map(|known| known.step(reading)).find(|step| *step != Step::None);
        if let Some(step) = step {
            (self.older, self.newer) = (None, Some(reading));
            return step;
        }
        if self.newer.is_none_or(|newer| newer.age(reading.sent) >= WATCH) {
            (self.older, self.newer) = (self.newer, Some(reading));
        }
        Step::None
    }
}

impl Reading {
    fn age(self, now: Instant) -> Duration {
        now.saturating_duration_since(self.received)
    }

    /// Returns the least that the server's time can be then.
    fn earliest(self, then: Instant) -> ServerTime {
        let passed = then.saturating_duration_since(self.received);
        self.server + passed.saturating_sub(passed / DRIFT + RESOLUTION)
    }

    fn latest(self, then: Instant) -> ServerTime {
        let passed = then.saturating_duration_since(self.sent);
        self.server + (passed + passed / DRIFT + RESOLUTION)
    }

    fn step(self, later: Self) -> Step {
        if later.sent < self.received {
            // They ran at the same time, in either order.
            Step::None
        } else if later.server < self.earliest(later.sent) {
            Step::Back
        } else if later.server > self.latest(later.received) {
            Step::Forward
        } else {
            Step::None
        }
    }
}

// As long as a lost call may count.
pub(in crate::users::limiter) const WATCH: Duration = Duration::from_millis(2100);
// NTP slews a clock by 500 ppm at most, and the other one may slew too.
const DRIFT: u32 = 1000;
// The resolution of either clock, and of the times that a script gets as arguments.
const RESOLUTION: Duration = Duration::from_millis(1);
const LEAST_TRAVEL: Duration = Duration::from_millis(5);
// A grant that takes longer is not used.
const MOST_TRAVEL: Duration = Duration::from_millis(50);
// The log is judged by the earlier of the two bounds, so each millisecond costs a thousandth of the rate.
const WIDEST: Duration = Duration::from_millis(150);
