//! Metrics of the cache that replicas share.

use std::{fmt, time::Duration};

use prometheus_client::{
    encoding::{EncodeMetric, MetricEncoder},
    metrics::{MetricType, TypedMetric, counter::Counter, family::Family, gauge::Gauge},
};

use super::{DurationHistogram, EnumFamily, Label as _};

/// A label set of one label whose values are known at run time only.
type OneLabel = [(&'static str, &'static str); 1];

metric_set! {
    /// Metrics of the cache that replicas share; cheap to clone.
    pub struct SharedCacheMetrics {
        /// Calls of a script at the store of the shared cache. A Refused one was not sent.
        calls: Family<(OneLabel, StoreCallOutcome), Counter> = "shared_cache_calls",
        /// Duration of calls at the store of the shared cache in seconds, if they were sent.
        durations: Family<OneLabel, RoundTripHistogram> = "shared_cache_call_seconds",
        /// Whether nothing is sent to the store of the shared cache (1), because it failed or is too
        /// slow; 0 while it is used, or not configured.
        open: Gauge = "shared_cache_open",
        /// Connections to the store of the shared cache that were replaced, by reason.
        pub reconnects: EnumFamily<ReconnectReason, Counter> = "shared_cache_reconnects",
    }
}

impl SharedCacheMetrics {
    /// Creates the series of a script.
    pub fn prepare(&self, script: &'static str) {
        for (outcome, _) in StoreCallOutcome::ALL {
            drop(self.calls.get_or_create(&([("script", script)], *outcome)));
        }
        drop(self.durations.get_or_create(&[("script", script)]));
    }

    /// Counts a call that ended after this time. The time of a refused call is not counted.
    pub fn count_call(&self, script: &'static str, outcome: StoreCallOutcome, duration: Duration) {
        self.calls.get_or_create(&([("script", script)], outcome)).inc();
        if outcome != StoreCallOutcome::Refused {
            self.durations.get_or_create(&[("script", script)]).observe(duration);
        }
    }

    /// Sets whether the circuit breaker is open.
    pub fn set_open(&self, is_open: bool) {
        self.open.set(is_open.into());
    }
}

label! {
    /// How a call at the store ended.
    pub enum StoreCallOutcome = "outcome" {
        /// The connection failed, or the store refuses commands at present.
        Failed,
        /// The script returned a value.
        Ok,
        /// Nothing was sent: there is no connection, the circuit breaker is open, or too many calls
        /// are in flight.
        Refused,
        /// The script failed, which says nothing about the store's health.
        ScriptError,
        /// The store did not answer within `shared_cache.timeout`.
        Timeout,
    }
}

label! {
    /// Why a connection was replaced.
    pub enum ReconnectReason = "reason" {
        /// It has reached its maximum age.
        Age,
        /// The store or the network closed it.
        Closed,
        /// The store no longer accepts its credentials.
        Credentials,
        /// The store stopped accepting commands: it loads its data, or has lost its primary.
        NotReady,
        /// The store became a replica.
        ReadOnly,
        /// Calls in a row had no answer in time, or failed at a node of the cluster.
        Timeouts,
    }
}

/// A histogram of the durations of round trips within a data center, in seconds.
#[derive(Clone, Debug)]
struct RoundTripHistogram(DurationHistogram);

impl RoundTripHistogram {
    fn observe(&self, duration: Duration) {
        self.0.observe(duration);
    }
}

impl Default for RoundTripHistogram {
    fn default() -> Self {
        Self(DurationHistogram::with_bounds(&BOUNDS))
    }
}

impl EncodeMetric for RoundTripHistogram {
    fn encode(&self, encoder: MetricEncoder<'_>) -> fmt::Result {
        self.0.encode(encoder)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

impl TypedMetric for RoundTripHistogram {
    const TYPE: MetricType = MetricType::Histogram;
}

// In seconds: a round trip within one zone takes 0.2 ms, and `shared_cache.timeout` is 50 ms.
const BOUNDS: [f64; 10] = [0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5];
