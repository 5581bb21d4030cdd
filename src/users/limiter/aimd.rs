//! How much of a rate is used after Cognito has throttled us: halved at once, and back bit by bit (AIMD); pure.

use std::time::Duration;

use tokio::time::Instant;

/// The share of a rate that is used. Others may use up the account's quota too, so the rate alone bounds nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Aimd {
    /// When it was last cut, and to what.
    cut: Option<(Instant, f64)>,
}

impl Aimd {
    /// Returns the share, more than 0 and at most 1. A quarter comes back every second, so 3 s heal any cut.
    pub(super) fn share(&self, now: Instant) -> f64 {
        let Some((at, share)) = self.cut else { return 1.0 };
        let healed = now.saturating_duration_since(at).as_secs_f64() / HEALING.as_secs_f64();
        (share + healed).min(1.0)
    }

    /// Halves the share; tells whether it did, for what was sent before a cut may still be throttled a second after it.
    pub(super) fn throttled(&mut self, now: Instant) -> bool {
        if self.cut.is_some_and(|(at, _)| now.saturating_duration_since(at) < FAILURE_BACKOFF) {
            return false;
        }
        self.cut = Some((now, self.share(now) / 2.0));
        true
    }
}

const HEALING: Duration = Duration::from_secs(4);
const FAILURE_BACKOFF: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn throttling_halves_and_time_heals() {
        let begin = Instant::now();
        let at = |ms: u64| begin + Duration::from_millis(ms);
        let mut aimd = Aimd::default();
        assert_eq!(aimd.share(begin), 1.0);
        assert!(aimd.throttled(begin));
        // What is asked, when, and the share then.
        for (cut, ms, share) in [
            (false, 0, 0.5),
            (false, 1000, 0.75),
            (false, 2000, 1.0),
            (false, 60_000, 1.0),
            (true, 60_000, 0.5),
            (true, 61_000, 0.375),
            (false, 63_500, 1.0),
        ] {
            assert!(!cut || aimd.throttled(at(ms)));
            assert_eq!(aimd.share(at(ms)), share, "{ms} ms");
        }
    }

    #[test]
    fn the_throttling_of_one_second_is_one_cut_and_of_many_no_standstill() {
        let begin = Instant::now();
        let mut aimd = Aimd::default();
        let mut cuts = 0;
        for ms in 0..60_000 {
            cuts += usize::from(aimd.throttled(begin + Duration::from_millis(ms)));
        }
        let end = begin + Duration::from_secs(60);
        assert_eq!(cuts, 60);
        assert!((0.25..=0.51).contains(&aimd.share(end)), "{}", aimd.share(end));
        assert_eq!(aimd.share(end + Duration::from_secs(3)), 1.0);
    }
}
