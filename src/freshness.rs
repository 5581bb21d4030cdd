//! Freshness as a caller sees it: how fresh it demands an answer, and how fresh one is.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// One point in time on both clocks: the system clock, which other machines share, and the
/// monotonic clock, which never steps back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TimePoint {
    /// By the system clock.
    pub system: SystemTime,
    /// By the monotonic clock, which ages are measured on.
    pub monotonic: Instant,
}

impl TimePoint {
    /// Reads both clocks.
    pub fn now() -> Self {
        Self { system: SystemTime::now(), monotonic: Instant::now() }
    }
}

/// How fresh an answer must be: a hard bound on when its fetch began.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Demand {
    since: Option<Instant>,
}

impl Demand {
    /// Leaves freshness to the service.
    pub const ANY: Self = Self { since: None };

    /// Demands a fetch that began at most `age` before `now`; 0 demands one that has yet to begin.
    pub fn at_most(age: Duration, now: TimePoint) -> Self {
        // An age beyond the start of the monotonic clock bounds nothing.
        Self { since: now.monotonic.checked_sub(age) }
    }

    /// Demands a fetch that began at or after `time` by the system clock. A time up to 10 s ahead
    /// means now: clocks differ, and a fetch that begins now sees all that was written before. None
    /// for a time beyond that, which no fetch can meet.
    pub fn not_older_than(time: SystemTime, now: TimePoint) -> Option<Self> {
        match now.system.duration_since(time) {
            Ok(age) => Some(Self::at_most(age, now)),
            Err(ahead) if ahead.duration() <= CLOCK_SKEW => Some(Self::at_most(Duration::ZERO, now)),
            Err(_) => None,
        }
    }

    /// Returns whether a fetch that began at `began` is fresh enough.
    pub fn allows(&self, began: Instant) -> bool {
        self.since.is_none_or(|since| began >= since)
    }
}

/// How old an answer is and where it came from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Freshness {
    /// What answered.
    pub source: Source,
    /// When the fetch began, by the system clock.
    pub fetched_at: SystemTime,
    /// How long ago that was, by the monotonic clock.
    pub age: Duration,
    /// Why an answer past its TTL is served; none if it is fresh.
    pub stale_reason: Option<StaleReason>,
}

/// Why an answer past its TTL is served.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum StaleReason {
    /// The service's own rate limit allowed no further call to Cognito.
    BudgetExhausted,
    /// Cognito throttles this service.
    UpstreamThrottled,
    /// Cognito failed, or did not answer in time.
    UpstreamUnavailable,
}

/// What answered a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Source {
    /// The cache of this process.
    Cache,
    /// Cognito, by a fetch that this request started or joined.
    Cognito,
}

const CLOCK_SKEW: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[tokio::test(start_paused = true)]
    async fn a_demand_bounds_when_the_fetch_began() {
        tokio::time::advance(seconds(100)).await;
        let now = TimePoint::now();
        let ago = |s| now.monotonic.checked_sub(seconds(s)).unwrap();
        let table = [
            ("any", Some(Demand::ANY), 99, true),
            ("exactly as old", Some(Demand::at_most(seconds(5), now)), 5, true),
            ("a second too old", Some(Demand::at_most(seconds(5), now)), 6, false),
            ("now, and fetched now", Some(Demand::at_most(seconds(0), now)), 0, true),
            ("now, and fetched before", Some(Demand::at_most(seconds(0), now)), 1, false),
            (
                "written 3 s ago, fetched 2 s ago",
                Demand::not_older_than(now.system - seconds(3), now),
                2,
                true,
            ),
            (
                "written 3 s ago, fetched 4 s ago",
                Demand::not_older_than(now.system - seconds(3), now),
                4,
                false,
            ),
            ("written 10 s ahead is now", Demand::not_older_than(now.system + seconds(10), now), 0, true),
            (
                "written 10 s ahead, fetched before",
                Demand::not_older_than(now.system + seconds(10), now),
                1,
                false,
            ),
        ];
        for (case, demand, age, allowed) in table {
            assert_eq!(demand.unwrap().allows(ago(age)), allowed, "{case}");
        }
        assert_eq!(Demand::not_older_than(now.system + seconds(11), now), None);
    }

    #[tokio::test(start_paused = true)]
    async fn an_age_beyond_all_time_bounds_nothing() {
        let now = TimePoint::now();
        assert_eq!(Demand::at_most(Duration::MAX, now), Demand::ANY);
        assert!(Demand::not_older_than(SystemTime::UNIX_EPOCH, now).is_some());
    }
}
