//! A point in time by the system clock, in the 8 bytes that a million cache entries can afford.

use std::{
    num::NonZeroU64,
    time::{Duration, SystemTime},
};

/// A time from 1970 to 2554, to the nanosecond. `SystemTime` takes 16 bytes, and so does an
/// `Option` of one.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct UnixTime(
    /// Nanoseconds since 1970, plus one.
    NonZeroU64,
);

impl UnixTime {
    /// Returns `time`, or none if it is out of range.
    pub fn new(time: SystemTime) -> Option<Self> {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        u64::try_from(since.as_nanos()).ok()?.checked_add(1).and_then(NonZeroU64::new).map(Self)
    }
}

impl From<UnixTime> for SystemTime {
    fn from(time: UnixTime) -> Self {
        Self::UNIX_EPOCH + Duration::from_nanos(time.0.get() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_in_range_is_kept_to_the_nanosecond_and_others_are_none() {
        let last = Duration::from_nanos(u64::MAX - 1);
        for since in [Duration::ZERO, Duration::from_nanos(1), Duration::from_nanos(1_795_614_746_007), last]
        {
            let time = SystemTime::UNIX_EPOCH + since;
            assert_eq!(UnixTime::new(time).map(SystemTime::from), Some(time), "{since:?}");
        }
        assert_eq!(UnixTime::new(SystemTime::UNIX_EPOCH - Duration::from_nanos(1)), None);
        assert_eq!(UnixTime::new(SystemTime::UNIX_EPOCH + last + Duration::from_nanos(1)), None);
        assert_eq!(size_of::<Option<UnixTime>>(), 8);
    }
}
