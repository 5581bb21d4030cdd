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
    looks: Family<Look, Counter>,
    verdicts: Gauge,
    fetches: Family<Fetch, Counter>,
    fetched: Family<OfPool, Gauge<f64, AtomicU64>>,
}

impl TokenMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        let looks = "Tokens presented, by whether they were known to be good already";
        registry.register("verdict_cache_requests", looks, self.looks.clone());
        let verdicts = "Tokens known to be good, the ended ones among them for a minute at most";
        registry.register("verdict_cache_entries", verdicts, self.verdicts.clone());
        let fetches = "Fetches of a pool's signing keys, by how they ended";
        registry.register("jwks_fetches", fetches, self.fetches.clone());
        let fetched = "When a pool's signing keys in use were fetched, in seconds since 1970; 0 if never";
        registry.register("jwks_fetched_timestamp_seconds", fetched, self.fetched.clone());
    }

    /// Returns what counts the verdicts, all of it made.
    pub fn verdicts(&self) -> TokenCacheMetrics {
        let looks = |result| self.looks.get_or_create(&Look { result }).clone();
        TokenCacheMetrics {
            hits: looks(LookResult::Hit),
            misses: looks(LookResult::Miss),
            entries: self.verdicts.clone(),
        }
    }

    /// Returns what counts the fetches of the keys of a configured pool, all of it made.
    pub fn keys(&self, pool: &str) -> KeyMetrics {
        let metrics = KeyMetrics { metrics: self.clone(), pool: pool.to_owned() };
        for outcome in FetchOutcome::ALL {
            drop(metrics.fetches(outcome));
        }
        drop(metrics.fetched());
        metrics
    }
}

/// What counts verdicts on tokens.
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
pub struct KeyMetrics {
    metrics: TokenMetrics,
    pool: String,
}

impl KeyMetrics {
    /// Notes how a fetch ended that ended now.
    pub fn ended(&self, outcome: FetchOutcome) {
        self.fetches(outcome).inc();
        if outcome == FetchOutcome::Ok {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            self.fetched().set(since.as_secs_f64());
        }
    }

    fn fetches(&self, outcome: FetchOutcome) -> Counter {
        self.metrics.fetches.get_or_create(&Fetch { pool: self.pool.clone(), outcome }).clone()
    }

    fn fetched(&self) -> Gauge<f64, AtomicU64> {
        self.metrics.fetched.get_or_create(&OfPool { pool: self.pool.clone() }).clone()
    }
}

/// How a fetch of signing keys ended.
#[derive(Clone, Copy, Debug, EncodeLabelValue, Eq, Hash, PartialEq)]
pub enum FetchOutcome {
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

impl FetchOutcome {
    const ALL: [Self; 6] = [Self::Body, Self::Connection, Self::Keys, Self::Ok, Self::Status, Self::Timeout];
}

#[derive(Clone, Copy, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Look {
    result: LookResult,
}

#[derive(Clone, Copy, Debug, EncodeLabelValue, Eq, Hash, PartialEq)]
enum LookResult {
    Hit,
    Miss,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Fetch {
    pool: String,
    outcome: FetchOutcome,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct OfPool {
    pool: String,
}
