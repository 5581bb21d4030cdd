//! The result of a load, and the shape that every load has.

use std::time::Duration;

/// The result of one run of a load.
pub(crate) struct Outcome {
    /// Replies per second.
    pub(crate) rate: f64,
    /// The bytes of all reply messages, with the heads of their frames.
    pub(crate) bytes: usize,
    /// The 99th percentile of the latencies, if they were measured.
    pub(crate) p99: Option<Duration>,
}

impl Outcome {
    /// `latencies` has one item per call, or is empty if they were not measured.
    pub(crate) fn new(rate: f64, bytes: usize, mut latencies: Vec<Duration>) -> Self {
        let place = latencies.len() * 99 / 100;
        let p99 = (!latencies.is_empty()).then(|| *latencies.select_nth_unstable(place).1);
        Self { rate, bytes, p99 }
    }
}

pub(crate) const CONNECTIONS: usize = 8;
/// The concurrent calls over each connection.
pub(crate) const STREAMS: usize = 32;
