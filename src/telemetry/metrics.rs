//! Metrics, for Prometheus and what reads its formats. Every label has few values, and none of them comes
//! from a request.

#[macro_use]
mod declare;
mod collect;
mod format;
mod process;
mod samples;
mod scrape_callbacks;
pub mod cache;
pub mod callers;
pub mod events;
pub mod rpc;
pub mod shared_cache;
pub mod shared_entries;
pub mod upstream;
mod server;
mod tokens;
pub mod watch;

use std::time::SystemTime;

use prometheus_client::{encoding::text, metrics::info::Info, registry::Registry};

use self::{
    cache::CacheMetrics, callers::CallerMetrics, events::EventMetrics, process::ProcessMetrics,
    rpc::RpcMetrics, shared_cache::SharedCacheMetrics, shared_entries::SharedEntryMetrics,
    upstream::UpstreamMetrics, watch::WatchMetrics,
};
pub use self::{
    declare::{DurationHistogram, EnumFamily, Label},
    format::Format,
    samples::{Sample, Samples},
    scrape_callbacks::ScrapeCallbacks,
    server::{ConnectionLimit, CutReason, ReloadOutcome, ServerMetrics},
    tokens::{JwksFetchOutcome, JwksMetrics, OnlineCheckOutcome, TokenLookupResult, TokenMetrics},
};
pub use prometheus_client::metrics::{counter::Counter, gauge::Gauge};

/// The metrics of one server; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// Connections, TLS files and audit records.
    pub server: ServerMetrics,
    /// The user cache.
    pub cache: CacheMetrics,
    /// Calls by caller.
    pub callers: CallerMetrics,
    /// The queue of changes.
    pub events: EventMetrics,
    /// Calls by method.
    pub rpcs: RpcMetrics,
    /// Entries and events of the cache that replicas share.
    pub shared_entries: SharedEntryMetrics,
    /// Calls of the store of the cache that replicas share.
    pub shared_cache: SharedCacheMetrics,
    /// Calls to Cognito.
    pub upstream: UpstreamMetrics,
    /// Access tokens and signing keys.
    pub tokens: TokenMetrics,
    /// Streams of changes.
    pub watch: WatchMetrics,
    /// What runs before each scrape.
    pub scrape_callbacks: ScrapeCallbacks,
    process: ProcessMetrics,
}

impl Metrics {
    /// Returns metrics that nothing has counted yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns all metrics as `OpenMetrics` text.
    pub fn text(&self) -> String {
        self.scrape_callbacks.run();
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = text::encode(&mut text, &self.registry());
        text
    }

    /// Returns the samples of all metrics.
    pub fn samples(&self) -> Samples {
        Samples::parse(&self.text())
    }

    /// Returns all metrics as text of this format.
    pub fn text_in(&self, format: Format) -> String {
        match format {
            Format::OpenMetrics => self.text(),
            Format::Prometheus => format::to_prometheus(&self.text()),
        }
    }

    /// Registers all metrics. Those of `rpcs` and of the process have the names that other servers
    /// use, all others the prefix `cognito_lookup_`.
    fn registry(&self) -> Registry {
        let mut whole = Registry::default();
        whole.register_collector(Box::new(self.rpcs.clone()));
        whole.register_collector(Box::new(self.process));
        let registry = whole.sub_registry_with_prefix("cognito_lookup");
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The running binary", build);
        self.server.register(registry);
        self.cache.register(registry);
        self.shared_entries.register(registry);
        self.shared_cache.register(registry);
        self.events.register(registry);
        self.upstream.register(registry);
        self.tokens.register(registry);
        self.watch.register(registry);
        registry.register_collector(Box::new(self.callers.clone()));
        whole
    }
}

fn unix_seconds(time: SystemTime) -> f64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
