//! How long to wait after calls of AWS that failed.

use std::time::Duration;

/// Returns how long to wait after so many failures in a row: 1 s, then twice as long each time, up to
/// 32 s, and up to a quarter less, so that replicas do not call together.
pub(super) fn backoff(failures: u32) -> Duration {
    let most = Duration::from_secs(1 << (failures.saturating_sub(1)).min(5));
    most * fastrand::u32(75..=100) / 100
}
