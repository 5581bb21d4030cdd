//! A point in time by the system clock, in the 8 bytes that a million cache entries can afford.

use std::{
    num::NonZeroU64,
    time::{Duration, SystemTime},
};

/// A time in the years 1 to 9999, which protobuf's `Timestamp` can hold, to the microsecond.
/// `SystemTime` takes 16 bytes, and so does an `Option` of one.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct UnixTime(
    /// Microseconds since the year 1, plus one.
    NonZeroU64,
);

impl UnixTime {
    /// Returns `time`, rounded, or none if it is out of range.
    pub fn new(time: SystemTime) -> Option<Self> {
        let since = time.duration_since(SystemTime::UNIX_EPOCH.checked_sub(YEARS_TO_1970)?).ok()?;
        let micros = (since.as_nanos() + 500) / 1000;
        let plus_one = u64::try_from(micros + 1).ok().filter(|_| micros < YEARS_TO_10000.as_micros());
        plus_one.and_then(NonZeroU64::new).map(Self)
    }
}

impl From<UnixTime> for SystemTime {
    fn from(time: UnixTime) -> Self {
        Self::UNIX_EPOCH - YEARS_TO_1970 + Duration::from_micros(time.0.get() - 1)
    }
}

/// Returns the microseconds from 1970 to `time`, or 0 for an earlier one.
pub fn micros_since_1970(time: SystemTime) -> u64 {
    let since_1970 = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_1970.as_micros()).unwrap_or(u64::MAX)
}

// From the beginning of the year 1.
const YEARS_TO_1970: Duration = Duration::from_secs(62_135_596_800);
const YEARS_TO_10000: Duration = Duration::from_secs(315_537_897_600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_in_range_is_kept_to_the_microsecond_and_others_are_none() {
        let year_1 = SystemTime::UNIX_EPOCH - YEARS_TO_1970;
        let last = YEARS_TO_10000 - Duration::from_micros(1);
        for since in [Duration::ZERO, Duration::from_micros(1), YEARS_TO_1970, last] {
            let time = year_1 + since;
            assert_eq!(UnixTime::new(time).map(SystemTime::from), Some(time), "{since:?}");
        }
        // What a number of seconds with three decimals becomes as a double.
        let written = SystemTime::UNIX_EPOCH + Duration::from_millis(1_732_838_400_123);
        let double = SystemTime::UNIX_EPOCH + Duration::from_nanos(1_732_838_400_122_999_907);
        assert_eq!(UnixTime::new(double).map(SystemTime::from), Some(written));
        for out in [year_1 - Duration::from_nanos(1), year_1 + YEARS_TO_10000] {
            assert_eq!(UnixTime::new(out), None);
        }
        assert_eq!(size_of::<Option<UnixTime>>(), 8);
    }
}
