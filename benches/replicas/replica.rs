//! Replicas in one process, with the stand-in as the Cognito of all.

use std::{fs, ops::Range};

use cognito_lookup::{
    config::{BudgetScope, Config, ErrorCollector},
    freshness::FreshnessRequirement,
    outgoing::Outgoing,
    policy::Permit,
    pool::PoolId,
    shared_cache::{SharedCache, SharedCacheConfig},
    telemetry::metrics::Metrics,
    user::Sub,
    users::Users,
};
use cognito_standin::StandIn;
use tempfile::TempDir;
use tokio::time::{Duration, Instant, sleep};

use super::lookups::{self, Lookups};

/// The Cognito of all replicas, and their keys.
pub(super) struct Fleet {
    pub(super) cognito: StandIn,
    keys: TempDir,
    scope: BudgetScope,
}

/// One replica.
pub(super) struct Replica {
    pub(super) users: Users,
    /// None if nothing is shared.
    shared: Option<SharedCache>,
    lookups: Lookups,
}

impl Fleet {
    /// Starts a Cognito with this many users.
    pub(super) fn start(people: usize) -> Self {
        let keys = TempDir::new().unwrap();
        fs::write(keys.path().join("index"), "0123456789abcdef index 0123456789abcdef").unwrap();
        fs::write(keys.path().join("value"), "fedcba9876543210 value fedcba9876543210").unwrap();
        Self { cognito: lookups::cognito(people, PER_SECOND), keys, scope: BudgetScope::Own }
    }

    /// Lets the replicas share one rate limit too.
    pub(super) fn sharing_the_limit(self) -> Self {
        Self { scope: BudgetScope::Shared, ..self }
    }

    /// Starts a replica that shares its cache, if there is a URL, and waits until it can.
    pub(super) async fn replica(&self, url: Option<String>) -> Replica {
        let (config, metrics) = (self.config(url), Metrics::new());
        let shared = SharedCacheConfig::read(&config, &mut ErrorCollector::new(&config));
        let shared = shared.map(|config| SharedCache::start(&config, &metrics, &Outgoing::default()));
        let lookups = Lookups::start(&config, shared.clone(), &metrics).await;
        let replica = Replica { users: lookups.users.clone(), shared, lookups };
        replica.connected().await;
        replica
    }

    /// Connects to the store at this URL.
    pub(super) async fn shared_cache(&self, url: String) -> SharedCache {
        let mut config = self.config(Some(url));
        // A busy machine is no fault of the store.
        config.shared_cache.timeout = Duration::from_secs(1);
        let config = SharedCacheConfig::read(&config, &mut ErrorCollector::new(&config)).unwrap();
        let shared = SharedCache::start(&config, &Metrics::new(), &Outgoing::default());
        while !shared.is_available() {
            sleep(Duration::from_millis(1)).await;
        }
        shared
    }

    fn config(&self, url: Option<String>) -> Config {
        let mut config = lookups::config(&self.cognito);
        config.budget.user_reads_per_second = usize::try_from(PER_SECOND).ok();
        config.budget.scope = self.scope;
        if url.is_some() {
            let key = |name: &str| self.keys.path().join(name).display().to_string();
            config.shared_cache.url = url;
            config.shared_cache.index_key_file = Some(key("index"));
            config.shared_cache.value_key_files = vec![key("value")];
        }
        config
    }

    pub(super) fn pool(&self) -> PoolId {
        self.cognito.pool_id().parse().unwrap()
    }
}

impl Replica {
    /// Whether calls of the store are made at present.
    pub(super) fn is_connected(&self) -> bool {
        self.shared.as_ref().is_none_or(SharedCache::is_available)
    }

    /// Waits until calls of the store are made, and the first event can be heard.
    async fn connected(&self) {
        while !self.is_connected() {
            sleep(Duration::from_millis(1)).await;
        }
        sleep(Duration::from_millis(300)).await;
    }

    /// The permits to read these users.
    pub(super) async fn permits(&self, people: Range<usize>) -> Vec<Permit> {
        let mut permits = Vec::with_capacity(people.len());
        for n in people {
            permits.push(self.lookups.permit(n, FreshnessRequirement::Any).await);
        }
        permits
    }

    /// The time of each read, one after the other.
    pub(super) async fn read(&self, permits: &[Permit]) -> Vec<Duration> {
        let mut times = Vec::with_capacity(permits.len());
        for permit in permits {
            let begun = Instant::now();
            self.users.find(permit, begun + Duration::from_secs(3)).await.unwrap();
            times.push(begun.elapsed());
        }
        times
    }
}

pub(super) fn sub(n: usize) -> Sub {
    lookups::sub(n).parse().unwrap()
}

/// The median and the 99th percentile, in milliseconds.
pub(super) fn percentiles(mut times: Vec<Duration>) -> (f64, f64) {
    times.sort_unstable();
    let at = |percent: usize| times[times.len() * percent / 100].as_secs_f64() * 1e3;
    (at(50), at(99))
}

// More than one machine makes.
const PER_SECOND: u32 = 100_000;
