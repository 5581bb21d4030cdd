//! What is counted about tokens: how often one was known already, and how the fetches of signing keys ended.

use std::{
    sync::atomic::AtomicU64,
    time::{SystemTime, UNIX_EPOCH},
};

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// The counters and gauges about tokens; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct TokenMetrics {
    lookups: Family<LookupLabels, Counter>,
    entries: Gauge,
    fetches: Family<JwksFetchLabels, Counter>,
    fetched: Family<PoolLabels, Gauge<f64, AtomicU64>>,
}

impl TokenMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        let lookups = "Tokens presented, by whether they were known to be good already";
        registry.register("verdict_cache_requests", lookups, self.lookups.clone());
        let entries = "Tokens known to be good, the ended ones among them for a minute at most";
        registry.register("verdict_cache_entries", entries, self.entries.clone());
        let fetches = "Fetches of a pool's signing keys, by how they ended";
        registry.register("jwks_fetches", fetches, self.fetches.clone());
        let fetched = "When a pool's signing keys in use were fetched, in seconds since 1970; 0 if never";
        registry.register("jwks_fetched_timestamp_seconds", fetched, self.fetched.clone());
    }

    /// Returns what counts the entries, all of it made.
    pub fn cache(&self) -> TokenCacheMetrics {
        let lookups = |result| self.lookups.get_or_create(&LookupLabels { result }).clone();
        TokenCacheMetrics {
            hits: lookups(LookupResult::Hit),
            misses: lookups(LookupResult::Miss),
            entries: self.entries.clone(),
        }
    }

    /// Returns what counts the fetches of the keys of a configured pool, all of it made.
    pub fn jwks(&self, pool: &str) -> JwksMetrics {
        let metrics = JwksMetrics { metrics: self.clone(), pool: pool.to_owned() };
        for outcome in JwksFetchOutcome::ALL {
            drop(metrics.fetches(outcome));
        }
        drop(metrics.fetched());
        metrics
    }
}

/// What counts entries on tokens.
#[derive(Clone, Debug)]
pub struct TokenCacheMetrics {
    /// Tokens that were known to be good.
    pub hits: Counter,
    /// Tokens that were not known, good or not.
    pub misses: Counter,
    /// How many are known.
    pub entries: Gauge,
}

/// What counts the fetches of one pool's signing keys.
#[derive(Clone, Debug)]
pub struct JwksMetrics {
    metrics: TokenMetrics,
    pool: String,
}

impl JwksMetrics {
    /// Notes how a fetch ended that ended now.
    pub fn fetch_ended(&self, outcome: JwksFetchOutcome) {
        self.fetches(outcome).inc();
        if outcome == JwksFetchOutcome::Ok {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            self.fetched().set(since.as_secs_f64());
        }
    }

    fn fetches(&self, outcome: JwksFetchOutcome) -> Counter {
        self.metrics.fetches.get_or_create(&JwksFetchLabels { pool: self.pool.clone(), outcome }).clone()
    }

    fn fetched(&self) -> Gauge<f64, AtomicU64> {
        self.metrics.fetched.get_or_create(&PoolLabels { pool: self.pool.clone() }).clone()
    }
}

/// How a fetch of signing keys ended.
#[derive(Clone, Copy, Debug, EncodeLabelValue, Eq, Hash, PartialEq)]
pub enum JwksFetchOutcome {
    /// The answer broke off or was too large.
    Body,
    /// There was no connection, or it failed.
    Connection,
    /// It brought no set of keys that can be used.
    Keys,
    /// It brought keys.
    Ok,
    /// The status was another than 200.
    Status,
    /// It took too long.
    Timeout,
}

impl JwksFetchOutcome {
    const ALL: [Self; 6] = [Self::Body, Self::Connection, Self::Keys, Self::Ok, Self::Status, Self::Timeout];
}

#[derive(Clone, Copy, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct LookupLabels {
    result: LookupResult,
}

#[derive(Clone, Copy, Debug, EncodeLabelValue, Eq, Hash, PartialEq)]
enum LookupResult {
    Hit,
    Miss,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct JwksFetchLabels {
    pool: String,
    outcome: JwksFetchOutcome,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct PoolLabels {
    pool: String,
}
