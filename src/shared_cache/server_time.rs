//! The clock of the store's server.

use std::{
    ops::Add,
    time::{Duration, SystemTime},
};

/// A time by the clock of the store's server, in whole microseconds since 1970. It is comparable with
/// other times of the same server only, and a failover may set the clock back.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ServerTime(u64);

impl ServerTime {
    /// Before all others: "never".
    pub const ZERO: Self = Self(0);

    /// After all others.
    pub const MAX: Self = Self(u64::MAX);

    /// Returns the time that is this many microseconds after 1970.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Returns the microseconds since 1970.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Returns the time that a server's clock has which agrees with a system clock.
    pub fn of(system: SystemTime) -> Self {
        Self::ZERO + system.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
    }

    /// Returns whether it differs from a system clock by at most [`MAX_SKEW`].
    pub fn is_near(self, system: SystemTime) -> bool {
        let since_1970 = system.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Duration::from_micros(self.0).abs_diff(since_1970) <= MAX_SKEW
    }

    /// Returns the microsecond before.
    #[must_use]
    pub const fn just_before(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// Returns the time since `earlier`, or 0 if `earlier` is later.
    pub const fn saturating_duration_since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

/// The time this much later, in whole microseconds, at most the last one.
impl Add<Duration> for ServerTime {
    type Output = Self;

    fn add(self, time: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(time.as_micros()).unwrap_or(u64::MAX)))
    }
}

/// By how much the clocks of the store and of a replica may differ. A replica does not share what a
/// store with another clock says: by a time far ahead it could make old entries outlive an
/// invalidation.
pub const MAX_SKEW: Duration = Duration::from_secs(10);
