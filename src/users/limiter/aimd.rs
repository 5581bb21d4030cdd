//! AIMD: the rate is halved when Cognito throttles and recovers linearly; pure.

use std::time::Duration;

use tokio::time::Instant;

use crate::shared_cache::{ServerTime, rate_limit::Cut};

/// The factor on a rate. Other clients spend the account's quota too, so a fixed rate can still be
/// throttled.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Aimd {
    /// The last cut: when, and to which factor.
    cut: Option<(Instant, f64)>,
}

impl Aimd {
    /// Returns the factor, more than 0 and at most 1. A quarter returns every second, so any cut is
    /// gone after 3 s.
    pub(super) fn factor(&self, now: Instant) -> f64 {
        let Some((at, factor)) = self.cut else { return 1.0 };
        let recovered = now.saturating_duration_since(at).as_secs_f64() / RECOVERY.as_secs_f64();
        (factor + recovered).min(1.0)
    }

    /// Follows a cut that all replicas share, at this time of the store.
    pub(super) fn adopt(&mut self, cut: Cut, server_now: ServerTime, now: Instant) {
        let ago = server_now.saturating_duration_since(cut.at).as_secs_f64();
        let factor = f64::from(cut.factor) / 1e6 + ago / RECOVERY.as_secs_f64();
        if factor < self.factor(now) {
            self.cut = Some((now, factor));
        }
    }

    /// Halves the factor and returns whether it did. Not twice within a second: calls sent before
    /// the cut may still be throttled.
    pub(super) fn throttled(&mut self, now: Instant) -> bool {
        if self.cut.is_some_and(|(at, _)| now.saturating_duration_since(at) < CUT_INTERVAL) {
            return false;
        }
        self.cut = Some((now, self.factor(now) / 2.0));
        true
    }
}

const RECOVERY: Duration = Duration::from_secs(4);
const CUT_INTERVAL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn throttling_halves_the_factor_and_time_restores_it() {
        let begin = Instant::now();
        let at = |ms: u64| begin + Duration::from_millis(ms);
        let mut aimd = Aimd::default();
        assert_eq!(aimd.factor(begin), 1.0);
        assert!(aimd.throttled(begin));
        // Whether Cognito throttles, when, and the factor then.
        for (cut, ms, factor) in [
            (false, 0, 0.5),
            (false, 1000, 0.75),
            (false, 2000, 1.0),
            (false, 60_000, 1.0),
            (true, 60_000, 0.5),
            (true, 61_000, 0.375),
            (false, 63_500, 1.0),
        ] {
            assert!(!cut || aimd.throttled(at(ms)));
            assert_eq!(aimd.factor(at(ms)), factor, "{ms} ms");
        }
    }

    #[test]
    fn throttling_cuts_once_a_second_and_never_to_a_standstill() {
        let begin = Instant::now();
        let mut aimd = Aimd::default();
        let mut cuts = 0;
        for ms in 0..60_000 {
            cuts += usize::from(aimd.throttled(begin + Duration::from_millis(ms)));
        }
        let end = begin + Duration::from_secs(60);
        assert_eq!(cuts, 60);
        assert!((0.25..=0.51).contains(&aimd.factor(end)), "{}", aimd.factor(end));
        assert_eq!(aimd.factor(end + Duration::from_secs(3)), 1.0);
    }
}
