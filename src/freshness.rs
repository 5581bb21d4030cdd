//! Freshness as a caller sees it: how fresh an answer must be, and how fresh it is.

use std::time::{Duration, SystemTime};

use crate::clock::{BootTime, TimePoint};

/// How fresh an answer must be when it leaves: a hard bound.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum FreshnessRequirement {
    /// Leaves freshness to the service.
    #[default]
    Any,
    /// Bounds the age of the answer. It is not zero, because no answer is that young.
    MaxAge(Duration),
    /// Requires a fetch that began then or later.
    FetchedSince(BootTime),
}

impl FreshnessRequirement {
    /// Requires an answer of at most this age; 0 requires a fetch that begins at `now` or later.
    pub fn max_age(age: Duration, now: BootTime) -> Self {
        if age.is_zero() { Self::FetchedSince(now) } else { Self::MaxAge(age) }
    }

    /// Requires a fetch that began at or after `time` by the system clock. A time up to 10 s ahead
    /// means now: clocks differ, and a fetch that begins now sees all that was written before. None
    /// for a time beyond that, which no fetch can meet.
    pub fn not_older_than(time: SystemTime, now: TimePoint) -> Option<Self> {
        match now.system.duration_since(time) {
            Ok(age) => Some(Self::FetchedSince(now.boot - age)),
            Err(ahead) if ahead.duration() <= CLOCK_SKEW => Some(Self::FetchedSince(now.boot)),
            Err(_) => None,
        }
    }

    /// Returns until when an answer whose fetch began at `began` is fresh enough. None for ever.
    pub fn holds_until(self, began: BootTime) -> Option<BootTime> {
        match self {
            Self::MaxAge(age) => Some(began + age),
            Self::Any | Self::FetchedSince(_) => None,
        }
    }

    /// Returns whether an answer whose fetch began at `began` is fresh enough to leave at `now`.
    pub fn is_satisfied(self, began: BootTime, now: BootTime) -> bool {
        match self {
            Self::Any => true,
            Self::MaxAge(age) => now - began <= age,
            Self::FetchedSince(since) => began >= since,
        }
    }
}

/// How old an answer is and where it came from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Freshness {
    /// What answered.
    pub source: Source,
    /// When the fetch began.
    pub began: TimePoint,
    /// How long ago that was when the answer left.
    pub age: Duration,
    /// Why an answer past its TTL is served; none if it is fresh.
    pub stale_reason: Option<StaleReason>,
}

impl Freshness {
    /// Returns the same with the age at `now`.
    #[must_use]
    pub fn at(self, now: BootTime) -> Self {
        Self { age: now - self.began.boot, ..self }
    }

    /// Returns the freshness of an answer made of this one and another: that of the older one.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        let older = if other.began.boot < self.began.boot { other } else { self };
        Self { stale_reason: self.stale_reason.or(other.stale_reason), ..older }
    }
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
    /// The cache that the replicas share, by a fetch that this request started or joined.
    SharedCache,
}

const CLOCK_SKEW: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[tokio::test(start_paused = true)]
    async fn a_requirement_bounds_when_the_fetch_began() {
        use FreshnessRequirement as Requirement;
        let now = TimePoint::now();
        let max_age = |age| Some(Requirement::max_age(seconds(age), now.boot));
        let not_older = |ago| Requirement::not_older_than(now.system - seconds(ago), now);
        let ahead = Requirement::not_older_than(now.system + seconds(10), now);
        // The requirement, the age of the answer when the request arrives, how long it then takes.
        let table = [
            ("any", Some(Requirement::Any), 99, 9, true),
            ("exactly as old", max_age(5), 5, 0, true),
            ("a second too old", max_age(5), 6, 0, false),
            ("as old when it leaves", max_age(5), 2, 3, true),
            ("too old when it leaves", max_age(5), 2, 4, false),
            ("now, and fetched now", max_age(0), 0, 9, true),
            ("now, and fetched before", max_age(0), 1, 0, false),
            ("written 3 s ago, fetched 2 s ago", not_older(3), 2, 9, true),
            ("written 3 s ago, fetched 4 s ago", not_older(3), 4, 0, false),
            ("written 10 s ahead is now", ahead, 0, 9, true),
            ("written 10 s ahead, fetched before", ahead, 1, 0, false),
        ];
        for (case, requirement, age, takes, satisfied) in table {
            let (began, leaves) = (now.boot - seconds(age), now.boot + seconds(takes));
            assert_eq!(requirement.unwrap().is_satisfied(began, leaves), satisfied, "{case}");
        }
        assert_eq!(Requirement::not_older_than(now.system + seconds(11), now), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_bound_beyond_all_time_is_none() {
        let now = TimePoint::now();
        for requirement in [
            FreshnessRequirement::max_age(Duration::MAX, now.boot),
            FreshnessRequirement::not_older_than(SystemTime::UNIX_EPOCH, now).unwrap(),
        ] {
            assert!(requirement.is_satisfied(now.boot - Duration::MAX, now.boot), "{requirement:?}");
        }
    }
}
