use std::{ops::Range, time::Duration};

use cognito_standin::StandIn;
use tokio::time::Instant;

/// When Cognito received each user read, of all its pools, in order.
pub(in crate::replicas) struct Received(Vec<Instant>);

impl Received {
    pub(in crate::replicas) fn by(pools: &[&StandIn]) -> Self {
        let mut times: Vec<_> = pools.iter().flat_map(|pool| pool.call_times("AdminGetUser")).collect();
        times.sort_unstable();
        Self(times)
    }

    /// Returns the most calls in any second, of those in this time.
    pub(in crate::replicas) fn most(&self, during: &Range<Instant>) -> usize {
        let times = self.during(during);
        let since = |last: &Instant| times.partition_point(|time| *time + SECOND <= *last);
        times.iter().enumerate().map(|(n, last)| n + 1 - since(last)).max().unwrap_or(0)
    }

    pub(in crate::replicas) fn per_second(&self, during: &Range<Instant>) -> f64 {
        self.during(during).len() as f64 / (during.end - during.start).as_secs_f64()
    }

    /// Returns how long after `since` a second began that had so many calls; none if none has.
    pub(in crate::replicas) fn time_until(&self, since: Instant, calls: usize) -> Option<Duration> {
        let times = &self.0[self.0.partition_point(|time| *time < since)..];
        let full = times.windows(calls).find(|window| window[calls - 1] < window[0] + SECOND)?;
        Some(full[0] - since)
    }

    fn during(&self, during: &Range<Instant>) -> &[Instant] {
        let [first, end] = [during.start, during.end].map(|at| self.0.partition_point(|time| *time < at));
        &self.0[first..end]
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn the_fullest_second_is_found() {
    let begun = Instant::now();
    let at = |ms: u64| begun + Duration::from_millis(ms);
    let received = Received([0, 400, 900, 1_000, 1_399, 3_000].map(at).to_vec());
    assert_eq!(received.most(&(at(0)..at(5_000))), 4, "from 400 to 1,399");
    assert_eq!(received.most(&(at(401)..at(1_399))), 2);
    assert_eq!(received.most(&(at(4_000)..at(5_000))), 0);
    assert_eq!(received.time_until(at(400), 4), Some(Duration::ZERO));
    assert_eq!(received.time_until(at(1), 4), Some(Duration::from_millis(399)));
    assert_eq!(received.time_until(at(401), 4), None);
}
