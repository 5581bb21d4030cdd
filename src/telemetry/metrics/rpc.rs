//! The calls that are served, under the names and with the labels of go-grpc-prometheus, which dashboards know.
//!
//! Each serving thread counts in cells of its own, for a counter that two threads write is passed to and fro between
//! their cores with every call; the cells are added up when somebody looks.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet},
    metrics::MetricType,
};

/// The calls of one server; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct RpcMetrics(Arc<Mutex<Vec<RpcCounters>>>);

impl RpcMetrics {
    /// Returns cells for one thread that serves `methods`, of which every call of [`RpcCounters::begin`] names one by its place.
    pub fn for_thread(&self, methods: &'static [Method]) -> RpcCounters {
        let counters =
            RpcCounters { methods, cells: methods.iter().map(|_| MethodCounters::default()).collect() };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(counters.clone());
        counters
    }
}

/// A method as it is counted.
#[derive(Clone, Copy, Debug, EncodeLabelSet)]
pub struct Method {
    /// `unary`, `server_stream` or `bidi_stream`.
    pub grpc_type: &'static str,
    /// Its service with the package, such as `userlookup.v1.UserService`.
    pub grpc_service: &'static str,
    /// Its name.
    pub grpc_method: &'static str,
}

/// The cells of one thread; cheap to clone.
#[derive(Clone, Debug)]
pub struct RpcCounters {
    methods: &'static [Method],
    cells: Arc<[MethodCounters]>,
}

impl RpcCounters {
    /// Counts that a call of the method at `place` was begun.
    pub fn started(&self, place: usize) {
        if let Some(cell) = self.cells.get(place) {
            cell.started.fetch_add(1, Relaxed);
        }
    }

    /// Counts that one was handled with this gRPC code (0 to 16) in this time.
    pub fn handled(&self, place: usize, code: i32, took: Duration) {
        let Some(cell) = self.cells.get(place) else { return };
        let code = usize::try_from(code).ok().and_then(|code| cell.handled.get(code));
        if let Some(handled) = code {
            handled.fetch_add(1, Relaxed);
        }
        let bucket = BOUNDS.iter().position(|bound| took.as_secs_f64() <= *bound).unwrap_or(BOUNDS.len());
        if let Some(bucket) = cell.took.get(bucket) {
            bucket.fetch_add(1, Relaxed);
        }
        cell.nanoseconds.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }
}

/// Returns a gRPC code (0 to 16) as Go spells it.
pub fn code_name(code: i32) -> &'static str {
    usize::try_from(code).ok().and_then(|code| CODES.get(code)).copied().unwrap_or("Unknown")
}

/// One method's counters.
#[derive(Debug, Default)]
struct MethodCounters {
    started: AtomicU64,
    handled: [AtomicU64; CODES.len()],
    took: [AtomicU64; BOUNDS.len() + 1],
    nanoseconds: AtomicU64,
}

impl Collector for RpcMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let threads = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let methods = threads.first().map_or(&[][..], |counters| counters.methods);
        let sum = |place: usize, read: &dyn Fn(&MethodCounters) -> &AtomicU64| -> u64 {
            threads
                .iter()
                .filter_map(|counters| counters.cells.get(place))
                .map(|cell| read(cell).load(Relaxed))
                .sum()
        };
        let help = "Calls begun";
        let mut family = encoder.encode_descriptor("grpc_server_started", help, None, MetricType::Counter)?;
        for (place, method) in methods.iter().enumerate() {
            let calls = sum(place, &|cell| &cell.started);
            family.encode_family(method)?.encode_counter::<NoLabelSet, _, u64>(&calls, None)?;
        }
        let help = "Calls handled, by their gRPC code";
        let mut family = encoder.encode_descriptor("grpc_server_handled", help, None, MetricType::Counter)?;
        for (place, method) in methods.iter().enumerate() {
            for (code, grpc_code) in CODES.iter().enumerate() {
                let calls = sum(place, &|cell| cell.handled.get(code).unwrap_or(&cell.started));
                let labels = CodeLabels { method: *method, grpc_code };
                family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&calls, None)?;
            }
        }
        let help = "How long calls took, in seconds; of a stream, until its answer begins";
        let name = "grpc_server_handling_seconds";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for (place, method) in methods.iter().enumerate() {
            let bounds = BOUNDS.iter().copied().chain([f64::INFINITY]).enumerate();
            let count =
                |bucket| sum(place, &|cell: &MethodCounters| cell.took.get(bucket).unwrap_or(&cell.started));
            let buckets: Vec<_> = bounds.map(|(bucket, bound)| (bound, count(bucket))).collect();
            let calls = buckets.iter().map(|(_, calls)| calls).sum();
            let seconds = Duration::from_nanos(sum(place, &|cell| &cell.nanoseconds)).as_secs_f64();
            family.encode_family(method)?.encode_histogram::<NoLabelSet>(seconds, calls, &buckets, None)?;
        }
        Ok(())
    }
}

#[derive(Debug, EncodeLabelSet)]
struct CodeLabels {
    #[prometheus(flatten)]
    method: Method,
    grpc_code: &'static str,
}

// As Go spells them, in the order of their numbers (gRPC, "Status codes").
const CODES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];
// Those of the Go client from 5 ms on, and below that where hits are.
const BOUNDS: [f64; 15] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

#[cfg(test)]
mod tests {
    use prometheus_client::{encoding::text, registry::Registry};

    use super::*;

    const METHODS: &[Method] = &[
        Method { grpc_type: "unary", grpc_service: "s.S", grpc_method: "A" },
        Method { grpc_type: "bidi_stream", grpc_service: "s.S", grpc_method: "B" },
    ];

    #[test]
    fn threads_count_apart_and_are_read_together() {
        let (rpcs, mut registry) = (RpcMetrics::default(), Registry::default());
        registry.register_collector(Box::new(rpcs.clone()));
        let (one, two) = (rpcs.for_thread(METHODS), rpcs.for_thread(METHODS));
        for (counters, code, milliseconds) in [(&one, 0, 1), (&two, 0, 3), (&two, 16, 20_000)] {
            counters.started(0);
            counters.handled(0, code, Duration::from_millis(milliseconds));
        }
        one.started(1);
        let mut text = String::new();
        text::encode(&mut text, &registry).unwrap();
        let a = "grpc_type=\"unary\",grpc_service=\"s.S\",grpc_method=\"A\"";
        for line in [
            format!("grpc_server_started_total{{{a}}} 3"),
            format!("grpc_server_handled_total{{{a},grpc_code=\"OK\"}} 2"),
            format!("grpc_server_handled_total{{{a},grpc_code=\"Unauthenticated\"}} 1"),
            format!("grpc_server_handled_total{{{a},grpc_code=\"Internal\"}} 0"),
            format!("grpc_server_handling_seconds_sum{{{a}}} 20.004"),
            format!("grpc_server_handling_seconds_count{{{a}}} 3"),
            format!("grpc_server_handling_seconds_bucket{{le=\"0.0005\",{a}}} 0"),
            format!("grpc_server_handling_seconds_bucket{{le=\"0.001\",{a}}} 1"),
            format!("grpc_server_handling_seconds_bucket{{le=\"0.005\",{a}}} 2"),
            format!("grpc_server_handling_seconds_bucket{{le=\"5.0\",{a}}} 2"),
            format!("grpc_server_handling_seconds_bucket{{le=\"+Inf\",{a}}} 3"),
        ] {
            assert!(text.lines().any(|told| told == line), "{line} is not in\n{text}");
        }
        let b = "grpc_type=\"bidi_stream\",grpc_service=\"s.S\",grpc_method=\"B\"";
        assert!(text.contains(&format!("grpc_server_started_total{{{b}}} 1")));
        assert_eq!(
            text.matches("grpc_server_handled_total{").count(),
            2 * 17,
            "every series is there at once"
        );
    }
}
