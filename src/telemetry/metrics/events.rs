//! Metrics of the queue of changes.

use std::{fmt, sync::atomic::AtomicU64, time::SystemTime};

use prometheus_client::{
    encoding::{EncodeMetric, MetricEncoder},
    metrics::{MetricType, TypedMetric, counter::Counter, family::Family, gauge::Gauge},
};

use super::{DurationHistogram, EnumFamily, Label as _, unix_seconds};

metric_set! {
    /// Metrics of the queue of changes; cheap to clone.
    pub struct EventMetrics {
        /// Messages of the queue of changes, by the name of the event and by what was done.
        events: Family<([(&'static str, &'static str); 1], EventOutcome), Counter> = "events",
        /// Time from a change of a user until this replica received its event, in seconds.
        lag: LagHistogram = "events_lag_seconds",
        /// Receives at the queue of changes. Each waits up to 20 s for a message.
        polls: EnumFamily<PollOutcome, Counter> = "events_polls",
        /// Unix time in seconds at which the last receive at the queue of changes succeeded; 0 if
        /// none has.
        polled: Gauge<f64, AtomicU64> = "events_polled_timestamp_seconds",
        /// 1 while no receive at the queue of changes has succeeded for `events.stale_after`, else 0.
        stale: Gauge = "events_stale",
        /// Unix time in seconds of the newest change that an event reported; 0 if none has.
        last: Gauge<f64, AtomicU64> = "events_last_timestamp_seconds",
        /// 1 if the changes before the start were looked up in CloudTrail, by this replica or another one,
        /// or if `events.catch_up` is off; else 0, and a token that was revoked before may be accepted.
        pub caught_up: Gauge = "events_caught_up",
        /// Lookups of changes in CloudTrail at the start, by outcome.
        pub trail_calls: EnumFamily<TrailCallOutcome, Counter> = "events_trail_calls",
    }
}

impl EventMetrics {
    /// Creates the series of an event, with every outcome.
    pub fn prepare(&self, event: &'static str) {
        for (outcome, _) in EventOutcome::ALL {
            drop(self.events.get_or_create(&([("event", event)], *outcome)));
        }
    }

    /// Counts a message.
    pub fn count(&self, event: &'static str, outcome: EventOutcome) {
        self.events.get_or_create(&([("event", event)], outcome)).inc();
    }

    #[cfg(test)]
    pub(crate) fn counted(&self, event: &'static str, outcome: EventOutcome) -> u64 {
        self.events.get_or_create(&([("event", event)], outcome)).get()
    }

    /// Records that an event was received at `now`, of a change at `at`.
    pub fn received(&self, at: SystemTime, now: SystemTime) {
        self.lag.0.observe(now.duration_since(at).unwrap_or_default());
        self.last.set(self.last.get().max(unix_seconds(at)));
    }

    /// Sets whether the queue has not been read for too long.
    pub fn set_stale(&self, is_stale: bool) {
        self.stale.set(is_stale.into());
    }

    #[cfg(test)]
    pub(crate) fn is_stale(&self) -> bool {
        self.stale.get() == 1
    }

    /// Counts a receive that ended.
    pub fn polled(&self, outcome: PollOutcome) {
        self.polls.get(outcome).inc();
        if outcome != PollOutcome::Failed {
            self.polled.set(unix_seconds(SystemTime::now()));
        }
    }
}

label! {
    /// What was done with a message.
    pub enum EventOutcome = "outcome" {
        /// The user was invalidated, if it was cached, or its tokens were revoked.
        Applied,
        /// The call that it reports failed.
        Failed,
        /// It is about a pool that is not served, from another service, or of a new version.
        Foreign,
        /// Everything cached of the user is newer, or the change was applied before.
        Late,
        /// It is no event. It goes to the dead-letter queue.
        Malformed,
        /// It does not say which user changed.
        NoSubject,
        /// The shared cache did not confirm it, or a revocation has no room, so the message returns.
        Retried,
        /// A refresh token was revoked, which Cognito is asked about when one of the user's tokens is
        /// presented.
        Suspect,
        /// Its name is not in the table of events.
        Unknown,
        /// It is about one refresh token, and does not say which access tokens come from it.
        Unused,
    }
}

label! {
    /// How a receive ended.
    pub enum PollOutcome = "outcome" {
        /// The queue had no message.
        Empty,
        /// The queue did not answer, or refused.
        Failed,
        /// There were messages.
        Messages,
    }
}

label! {
    /// How a call of CloudTrail ended.
    pub enum TrailCallOutcome = "outcome" {
        /// CloudTrail returned events, or that there are none.
        Answered,
        /// CloudTrail did not answer, throttled or refused. The call is repeated.
        Failed,
    }
}

/// A histogram of the delay of events, in seconds.
#[derive(Clone, Debug)]
struct LagHistogram(DurationHistogram);

impl Default for LagHistogram {
    fn default() -> Self {
        Self(DurationHistogram::with_bounds(&BOUNDS))
    }
}

impl EncodeMetric for LagHistogram {
    fn encode(&self, encoder: MetricEncoder<'_>) -> fmt::Result {
        self.0.encode(encoder)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

impl TypedMetric for LagHistogram {
    const TYPE: MetricType = MetricType::Histogram;
}

// In seconds. Most events take 1 to 30 s, and a queue that was not read for a while holds older ones.
const BOUNDS: [f64; 10] = [1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 600.0, 3600.0];

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_lag_is_never_negative_and_the_newest_change_stays() {
        let (metrics, at) = (EventMetrics::default(), |s| SystemTime::UNIX_EPOCH + Duration::from_secs(s));
        metrics.received(at(100), at(103));
        metrics.received(at(90), at(80));
        assert_eq!(metrics.last.get().to_bits(), 100.0_f64.to_bits());
    }
}
