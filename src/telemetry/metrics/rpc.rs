//! Calls by method, under the names and labels of go-grpc-prometheus, which dashboards know. Each
//! serving thread has its own counters.

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

use super::collect::{encode_counters, sum};

/// Calls by method; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct RpcMetrics(Arc<Mutex<Vec<Arc<RpcCounters>>>>);

/// A method as it is labelled.
#[derive(Clone, Copy, Debug, EncodeLabelSet)]
pub struct Method {
    /// `unary`, `server_stream` or `bidi_stream`.
    pub grpc_type: &'static str,
    /// The service with its package, such as `userlookup.v1.UserService`.
    pub grpc_service: &'static str,
    /// The name of the method.
    pub grpc_method: &'static str,
}

impl RpcMetrics {
    /// Returns the counters of one more serving thread. It names a method by its position in
    /// `methods`, which are the same for all threads.
    pub fn for_thread(&self, methods: &'static [Method]) -> Arc<RpcCounters> {
        let of_method = methods.iter().map(|_| MethodCounters::default()).collect();
        let counters = Arc::new(RpcCounters { methods, of_method });
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&counters));
        counters
    }
}

/// The counters of one serving thread.
#[derive(Debug)]
pub struct RpcCounters {
    methods: &'static [Method],
    of_method: Box<[MethodCounters]>,
}

#[derive(Debug, Default)]
struct MethodCounters {
    started: AtomicU64,
    handled: [AtomicU64; CODES.len()],
    buckets: [AtomicU64; BOUNDS.len() + 1],
    nanoseconds: AtomicU64,
}

impl RpcCounters {
    /// Counts a call that begins.
    pub fn started(&self, method: usize) {
        if let Some(counters) = self.of_method.get(method) {
            counters.started.fetch_add(1, Relaxed);
        }
    }

    /// Counts a call that ended with this gRPC code (0 to 16) after `duration`.
    pub fn handled(&self, method: usize, code: i32, duration: Duration) {
        let Some(counters) = self.of_method.get(method) else { return };
        let handled = usize::try_from(code).ok().and_then(|code| counters.handled.get(code));
        let bound = BOUNDS.iter().position(|bound| duration.as_secs_f64() <= *bound).unwrap_or(BOUNDS.len());
        for counter in [handled, counters.buckets.get(bound)].into_iter().flatten() {
            counter.fetch_add(1, Relaxed);
        }
        counters.nanoseconds.fetch_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }
}

/// Returns a gRPC code (0 to 16) as Go spells it.
pub fn code_name(code: i32) -> &'static str {
    usize::try_from(code).ok().and_then(|code| CODES.get(code)).copied().unwrap_or("Unknown")
}

impl Collector for RpcMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let threads = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let sum = |method: usize, counter: &dyn Fn(&MethodCounters) -> Option<&AtomicU64>| {
            sum(&threads, |counters| counter(counters.of_method.get(method)?))
        };
        let methods =
            || threads.iter().take(1).flat_map(|counters| counters.methods.iter().copied().enumerate());
        let started = methods().map(|(n, method)| (method, sum(n, &|counters| Some(&counters.started))));
        encode_counters(&mut encoder, ("grpc_server_started", "Calls begun"), started)?;
        let codes = methods().flat_map(|method| CODES.iter().enumerate().map(move |code| (method, code)));
        let handled = codes.map(|((n, method), (code, name))| {
            ((method, [("grpc_code", *name)]), sum(n, &|counters| counters.handled.get(code)))
        });
        encode_counters(&mut encoder, ("grpc_server_handled", "Calls ended, by gRPC status code"), handled)?;
        let help = "Duration of calls in seconds; of a streaming call until its response begins";
        let name = "grpc_server_handling_seconds";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for (n, method) in methods() {
            let bounds = BOUNDS.iter().copied().chain([f64::INFINITY]).enumerate();
            let calls = |bucket| sum(n, &|counters| counters.buckets.get(bucket));
            let buckets: Vec<_> = bounds.map(|(bucket, bound)| (bound, calls(bucket))).collect();
            let all_calls = buckets.iter().map(|(_, calls)| calls).sum();
            let seconds = Duration::from_nanos(sum(n, &|counters| Some(&counters.nanoseconds))).as_secs_f64();
            family
                .encode_family(&method)?
                .encode_histogram::<NoLabelSet>(seconds, all_calls, &buckets, None)?;
        }
        Ok(())
    }
}

// As Go spells them, by number (gRPC, "Status codes").
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
// In seconds: those of the Go client from 5 ms up, and finer ones below, where cache hits are.
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
    fn the_counters_of_all_threads_are_added_up() {
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
            assert!(text.lines().any(|exported| exported == line), "{line} is not in\n{text}");
        }
        let b = "grpc_type=\"bidi_stream\",grpc_service=\"s.S\",grpc_method=\"B\"";
        assert!(text.contains(&format!("grpc_server_started_total{{{b}}} 1")));
        assert_eq!(
            text.matches("grpc_server_handled_total{").count(),
            2 * 17,
            "every series is there from the start"
        );
    }
}
