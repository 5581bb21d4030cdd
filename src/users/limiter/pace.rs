//! Pacing: spreads calls over the second, so that a place is soon free for a call that comes later;
//! pure.

use std::time::Duration;

use tokio::time::Instant;

/// When the next call may begin, by the generic cell rate algorithm. After a pause, a quarter of a
/// second's calls may begin at once.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace(Option<Instant>);

impl Pace {
    /// Returns when a call may begin, after `queued` others at `rate` calls a second.
    pub(super) fn opens_at(self, rate: usize, queued: usize, now: Instant) -> Instant {
        let queued = u32::try_from(queued).unwrap_or(u32::MAX);
        self.0.map_or(now, |next| next.max(now)) + interval(rate).saturating_mul(queued)
    }

    /// Returns when a background call may begin: half of what is saved up is for others.
    pub(super) fn opens_for_background_at(self, now: Instant) -> Instant {
        self.0.map_or(now, |next| now.max(next + BURST / 2))
    }

    /// Notes that a call begins. While others wait, only one call or the delay of a timer is made up
    /// for; or a burst would come back every second, when its calls leave the window.
    pub(super) fn begin(&mut self, rate: usize, others_wait: bool, now: Instant) {
        let saved = if others_wait { DELAY.max(interval(rate)).min(BURST) } else { BURST };
        let earliest = now.checked_sub(saved).unwrap_or(now);
        self.0 = Some(self.0.map_or(earliest, |next| next.max(earliest)) + interval(rate));
    }
}

fn interval(rate: usize) -> Duration {
    Duration::from_secs(1) / u32::try_from(rate.max(1)).unwrap_or(u32::MAX)
}

const BURST: Duration = Duration::from_millis(250);
const DELAY: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_of_a_second_is_saved_up_unless_others_wait() {
        let begin = Instant::now();
        let starts = |others_wait: bool| {
            let (mut pace, mut now) = (Pace::default(), begin);
            (0..12).map(move |_| {
                now = pace.opens_at(8, 0, now);
                pace.begin(8, others_wait, now);
                (now - begin).as_millis()
            })
        };
        let even: Vec<_> = (0..12).map(|n: u128| n.saturating_sub(1) * 125).collect();
        assert_eq!(starts(true).collect::<Vec<_>>(), even);
        let burst: Vec<_> = (0..12).map(|n: u128| n.saturating_sub(2) * 125).collect();
        assert_eq!(starts(false).collect::<Vec<_>>(), burst);
    }
}
