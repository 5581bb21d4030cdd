//! The clock that ages are measured on.

use std::{
    ops::{Add, Sub},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime},
};

/// A point in time on a clock that never steps and that runs on while the machine sleeps.
///
/// An `Instant` stands still meanwhile (`CLOCK_MONOTONIC` on Linux), so that after a suspend all
/// data would look as fresh as before. The system clock counts the sleep but also steps. Timeouts
/// and deadlines use `Instant`, as Tokio's timers do.
///
/// The default is when the machine started, which is before every other point.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct BootTime {
    nanos: u64,
}

/// One point in time on both clocks: the system clock, which other machines share, and the clock
/// that ages are measured on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TimePoint {
    /// By the system clock.
    pub system: SystemTime,
    /// By the clock that never steps.
    pub boot: BootTime,
}

impl BootTime {
    /// Reads the clock.
    pub fn now() -> Self {
        Self { nanos: nanos(since_boot()) }
    }

    /// Returns the time since then.
    pub fn elapsed(self) -> Duration {
        Self::now() - self
    }
}

/// The latest of the points in time that threads set.
#[derive(Debug, Default)]
pub struct LatestTime(AtomicU64);

impl LatestTime {
    /// Sets it, unless it is later already.
    pub fn advance(&self, to: BootTime) {
        self.0.fetch_max(to.nanos, Ordering::Release);
    }

    /// Returns it: one load.
    pub fn get(&self) -> BootTime {
        BootTime { nanos: self.0.load(Ordering::Acquire) }
    }
}

/// The time between two points; 0 if the first is the earlier one.
impl Sub for BootTime {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.nanos.saturating_sub(earlier.nanos))
    }
}

/// The point this much earlier, but not before the machine started.
impl Sub<Duration> for BootTime {
    type Output = Self;

    fn sub(self, time: Duration) -> Self {
        Self { nanos: self.nanos.saturating_sub(nanos(time)) }
    }
}

/// The point this much later, but at most 584 years after the machine started.
impl Add<Duration> for BootTime {
    type Output = Self;

    fn add(self, time: Duration) -> Self {
        Self { nanos: self.nanos.saturating_add(nanos(time)) }
    }
}

impl TimePoint {
    /// Reads both clocks.
    pub fn now() -> Self {
        Self { system: system_time(), boot: BootTime::now() }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(not(test))]
fn system_time() -> SystemTime {
    SystemTime::now()
}

/// The system clock of the tests' servers: it follows Tokio's clock.
#[cfg(test)]
pub(crate) fn system_time() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000) + since_boot() - tests::ASLEEP.get()
}

/// Returns the time since the machine started, time asleep included.
#[cfg(not(test))]
fn since_boot() -> Duration {
    use rustix::time::{ClockId, clock_gettime};

    #[cfg(target_os = "linux")]
    const CLOCK: ClockId = ClockId::Boottime;
    // The best that POSIX has. On macOS it counts the time asleep too.
    #[cfg(not(target_os = "linux"))]
    const CLOCK: ClockId = ClockId::Monotonic;
    // Fails only for a time before the start.
    clock_gettime(CLOCK).try_into().unwrap_or_default()
}

/// Tokio's clock, which tests pause and advance, and the time that the test was asleep.
#[cfg(test)]
fn since_boot() -> Duration {
    use std::sync::LazyLock;

    use tokio::time::Instant;

    // Before the clock of any test was paused.
    static START: LazyLock<Instant> = LazyLock::new(|| Instant::now() - Duration::from_secs(86_400));
    Instant::now().duration_since(*START) + tests::ASLEEP.get()
}

#[cfg(test)]
pub(crate) mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        pub(super) static ASLEEP: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    }

    /// Puts the machine to sleep, for this thread: timers stand still, ages grow.
    pub(crate) fn suspend(time: Duration) {
        ASLEEP.set(ASLEEP.get() + time);
    }

    #[tokio::test(start_paused = true)]
    async fn a_point_in_time_is_within_the_clock_which_counts_the_time_asleep() {
        let now = BootTime::now();
        let second = Duration::from_secs(1);
        assert_eq!(((now + second) - now, now - (now + second)), (second, Duration::ZERO));
        assert_eq!(now + Duration::MAX - Duration::MAX, BootTime { nanos: 0 });
        tokio::time::advance(second).await;
        suspend(second);
        assert_eq!(now.elapsed(), 2 * second);
    }
}
