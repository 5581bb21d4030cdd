//! What is counted, in the text format of `OpenMetrics`. Every label has few values: none comes from a request.

pub mod cache;
pub mod callers;
pub mod scrape_callbacks;
pub mod rpc;
pub mod upstream;
mod tokens;

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::SystemTime,
};

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, text},
    metrics::{family::Family, info::Info},
    registry::Registry,
};

pub use self::tokens::{JwksFetchOutcome, JwksMetrics, TokenCacheMetrics, TokenMetrics};
use self::{
    cache::CacheMetrics, callers::CallerMetrics, rpc::RpcMetrics, scrape_callbacks::ScrapeCallbacks,
    upstream::UpstreamMetrics,
};
pub use prometheus_client::metrics::{counter::Counter, gauge::Gauge};

/// The counters and gauges of one server; cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// The connections that each worker serves.
    pub connections: Family<WorkerLabels, Gauge>,
    /// The connections that were refused on arrival.
    pub connections_refused: Family<RefusalLabels, Counter>,
    /// The connections that were cut rather than ended in good order.
    pub connections_cut: Family<CutLabels, Counter>,
    /// The failures to accept a connection, for want of file descriptors above all.
    pub accept_failures: Counter,
    /// The times that changed TLS files were found bad, and the old ones stayed.
    pub tls_reload_failures: Counter,
    /// What the cache answers and holds.
    pub cache: CacheMetrics,
    /// The calls that are served, by their caller.
    pub callers: CallerMetrics,
    /// The calls that are served.
    pub rpcs: RpcMetrics,
    /// The calls to Cognito.
    pub upstream: UpstreamMetrics,
    /// What is read only when somebody lookups.
    pub scrape_callbacks: ScrapeCallbacks,
    /// The audit records that were lost, for want of room or of a sink that takes them.
    pub audit_records_dropped: Counter,
    /// What is counted about tokens.
    pub tokens: TokenMetrics,
    tls_loaded: Gauge<f64, AtomicU64>,
    tls_certificate_expiry: Gauge<f64, AtomicU64>,
    registry: Arc<Registry>,
}

impl Metrics {
    /// Registers everything, under the prefix `cognito_lookup_` but for what is named as by every gRPC server.
    pub fn new() -> Self {
        let mut whole = Registry::default();
        let registry = whole.sub_registry_with_prefix("cognito_lookup");
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "What is running", build);
        let mut metrics = Self {
            connections: Family::default(),
            connections_refused: Family::default(),
            connections_cut: Family::default(),
            accept_failures: Counter::default(),
            tls_reload_failures: Counter::default(),
            cache: CacheMetrics::default(),
            callers: CallerMetrics::default(),
            rpcs: RpcMetrics::default(),
            upstream: UpstreamMetrics::default(),
            scrape_callbacks: ScrapeCallbacks::default(),
            audit_records_dropped: Counter::default(),
            tokens: TokenMetrics::default(),
            tls_loaded: Gauge::default(),
            tls_certificate_expiry: Gauge::default(),
            registry: Arc::default(),
        };
        metrics.prepare();
        metrics.register(registry);
        whole.register_collector(Box::new(metrics.rpcs.clone()));
        metrics.registry = Arc::new(whole);
        metrics
    }

    fn register(&self, registry: &mut Registry) {
        let connections = "Connections being served";
        registry.register("connections", connections, self.connections.clone());
        let refused = "Connections refused on arrival";
        registry.register("connections_refused", refused, self.connections_refused.clone());
        let cut = "Connections cut rather than ended in good order";
        registry.register("connections_cut", cut, self.connections_cut.clone());
        let accept = "Failures to accept a connection";
        registry.register("accept_failures", accept, self.accept_failures.clone());
        let failures = "Changed TLS files that were bad, so that the old ones stayed";
        registry.register("tls_reload_failures", failures, self.tls_reload_failures.clone());
        let dropped = "Audit records lost, for want of room or of a sink that takes them";
        registry.register("audit_records_dropped", dropped, self.audit_records_dropped.clone());
        let loaded = "When the TLS files in use were loaded, in seconds since 1970; 0 without TLS";
        registry.register("tls_loaded_timestamp_seconds", loaded, self.tls_loaded.clone());
        let expiry =
            "Until when the server's certificate in use is good, in seconds since 1970; 0 without TLS";
        let name = "tls_certificate_expiry_timestamp_seconds";
        registry.register(name, expiry, self.tls_certificate_expiry.clone());
        self.cache.register(registry);
        self.upstream.register(registry);
        self.tokens.register(registry);
        registry.register_collector(Box::new(self.callers.clone()));
    }

    /// Makes every series at once: a rate over one that first appears with its first event misses that event.
    fn prepare(&self) {
        for limit in [ConnectionLimit::Connections, ConnectionLimit::ConnectionsPerPeer] {
            drop(self.connections_refused.get_or_create(&RefusalLabels { limit }));
        }
        for reason in [CutReason::Drain, CutReason::Flood, CutReason::Handshake, CutReason::Stall] {
            drop(self.connections_cut.get_or_create(&CutLabels { reason }));
        }
    }

    /// Notes that the TLS files in use were loaded now, with a certificate that is good until `expiry`.
    pub fn tls_loaded(&self, expiry: SystemTime) {
        let since = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.tls_loaded.set(since(SystemTime::now()).as_secs_f64());
        self.tls_certificate_expiry.set(since(expiry).as_secs_f64());
    }

    /// Writes everything as `OpenMetrics` text.
    pub fn text(&self) -> String {
        self.scrape_callbacks.run();
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = text::encode(&mut text, &self.registry);
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// Which worker, counted from 0.
#[derive(Clone, Copy, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct WorkerLabels {
    /// Its number.
    pub worker: u32,
}

/// Which limit refused a connection.
#[derive(Clone, Copy, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct RefusalLabels {
    /// The limit's setting.
    pub limit: ConnectionLimit,
}

/// A limit on arriving connections.
#[derive(Clone, Copy, Debug, EncodeLabelValue, Eq, Hash, PartialEq)]
pub enum ConnectionLimit {
    /// `limits.connections`.
    Connections,
    /// `limits.connections_per_peer`.
    ConnectionsPerPeer,
}

/// Why a connection was cut.
#[derive(Clone, Copy, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct CutLabels {
    /// The reason.
    pub reason: CutReason,
}

/// Why a connection was cut.
#[derive(Clone, Copy, Debug, EncodeLabelValue, Eq, Hash, PartialEq)]
pub enum CutReason {
    /// It did not end in the time given for that.
    Drain,
    /// It sent too many frames that carry no call.
    Flood,
    /// Its handshake or preface failed or did not come in time.
    Handshake,
    /// Its client left answers unread.
    Stall,
}
