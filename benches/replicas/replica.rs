//! Replicas in one process: the components that look up users, with the stand-in as Cognito.

use std::{fs, net::Ipv4Addr, sync::Arc};

use cognito_lookup::{
    attribute::Selection,
    auth::{self, Authenticator, VerifiedTokens},
    config::{AwsCredentials, CallerSettings, Config, ErrorCollector, PoolSettings, Reads},
    freshness::FreshnessRequirement,
    outgoing::Outgoing,
    policy::{Permit, Policy},
    pool::{PoolId, Pools},
    query::Query,
    shared_cache::{SharedCache, SharedCacheConfig},
    telemetry::metrics::Metrics,
    user::Sub,
    users::Users,
};
use cognito_standin::{Pool, StandIn, User};
use tempfile::TempDir;
use tokio::time::{Duration, Instant, sleep};
use tonic::metadata::MetadataMap;

/// The Cognito of all replicas, and their keys.
pub(super) struct Fleet {
    pub(super) cognito: StandIn,
    keys: TempDir,
}

/// One replica.
pub(super) struct Replica {
    pub(super) users: Users,
    shared: Option<SharedCache>,
    authenticator: Authenticator,
    policy: Policy,
}

impl Fleet {
    /// Starts a Cognito with this many users.
    pub(super) fn start(people: usize) -> Self {
        let people = (0..people).map(|n| User { sub: text(n), ..User::local(format!("name-{n}"), "x") });
        let cognito = StandIn::start(Pool { users: people.collect(), ..Pool::sandbox() }).unwrap();
        cognito.set_quota("UserRead", 100_000);
        let keys = TempDir::new().unwrap();
        fs::write(keys.path().join("index"), "0123456789abcdef index 0123456789abcdef").unwrap();
        fs::write(keys.path().join("value"), "fedcba9876543210 value fedcba9876543210").unwrap();
        Self { cognito, keys }
    }

    /// Starts a replica that shares its cache, if there is a URL, and waits until it can.
    pub(super) async fn replica(&self, url: Option<String>) -> Replica {
        let config = self.config(url);
        let mut errors = ErrorCollector::new(&config);
        let pools = Pools::read(&config, &mut errors).unwrap();
        let policy = Policy::read(&config, Some(&pools), &mut errors).unwrap();
        let shared = SharedCacheConfig::read(&config, &mut errors);
        let (metrics, outgoing) = (Metrics::new(), Outgoing::default());
        let shared = shared.map(|config| SharedCache::start(&config, &metrics, &outgoing));
        let tokens =
            Arc::new(VerifiedTokens::new(config.cache.max_token_bytes, &config.revocation, &metrics));
        let authenticator = Authenticator::start(&pools, Arc::clone(&tokens), &metrics.tokens, &outgoing);
        authenticator.ready(&pools.only().unwrap().id).await;
        let (cache, budget) = (&config.cache, &config.budget);
        let users = Users::connect(&pools, cache, budget, tokens, shared.clone(), &metrics, &outgoing).await;
        let replica = Replica { users, shared, authenticator, policy };
        replica.connected().await;
        replica
    }

    pub(super) fn pool(&self) -> PoolId {
        self.cognito.pool_id().parse().unwrap()
    }

    fn config(&self, url: Option<String>) -> Config {
        let mut config = Config {
            pools: vec![PoolSettings {
                id: self.cognito.pool_id().into(),
                app_clients: self.cognito.pool().web_clients.clone(),
                issuer: Some(self.cognito.issuer().into()),
                jwks_url: Some(self.cognito.jwks_url()),
                endpoint_url: Some(self.cognito.endpoint_url()),
                credentials: AwsCredentials::Placeholder,
                ..PoolSettings::default()
            }],
            callers: vec![CallerSettings {
                name: "bench".into(),
                network: vec!["127.0.0.1/32".into()],
                reads: Reads::Any,
                attributes: vec!["*".into()],
                ..CallerSettings::default()
            }],
            ..Config::default()
        };
        config.budget.user_reads_per_second = Some(100_000);
        if url.is_some() {
            let key = |name: &str| self.keys.path().join(name).display().to_string();
            config.shared_cache.url = url;
            config.shared_cache.index_key_file = Some(key("index"));
            config.shared_cache.value_key_files = vec![key("value")];
        }
        config
    }
}

impl Replica {
    /// Whether calls of the store are made at present.
    pub(super) fn is_connected(&self) -> bool {
        self.shared.as_ref().is_none_or(SharedCache::is_available)
    }

    /// Waits until calls of the store are made, and the first event can be heard.
    pub(super) async fn connected(&self) {
        while !self.is_connected() {
            sleep(Duration::from_millis(1)).await;
        }
        sleep(Duration::from_millis(300)).await;
    }

    /// The permits to read these users.
    pub(super) async fn permits(&self, people: std::ops::Range<usize>) -> Vec<Permit> {
        let mut permits = Vec::with_capacity(people.len());
        for n in people {
            permits.push(self.permit(n, FreshnessRequirement::Any).await);
        }
        permits
    }

    pub(super) async fn permit(&self, n: usize, freshness: FreshnessRequirement) -> Permit {
        let metadata = MetadataMap::new();
        let address = auth::Address::Ip(Ipv4Addr::LOCALHOST.into());
        let peer = auth::Peer { address, certificate: None };
        let caller = self.authenticator.authenticate(auth::Credentials {
            metadata: &metadata,
            access_token: "",
            peer: &peer,
        });
        let query = Query {
            sub: Some(sub(n)),
            pool: None,
            attributes: Selection::All,
            include_groups: false,
            freshness,
        };
        self.policy.rule(&caller.await.unwrap()).unwrap().permit(query).unwrap()
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
    text(n).parse().unwrap()
}

fn text(n: usize) -> String {
    format!("b0b00000-5a4d-4b0c-8000-{n:012}")
}

/// The median and the 99th percentile, in milliseconds.
pub(super) fn percentiles(mut times: Vec<Duration>) -> (f64, f64) {
    times.sort_unstable();
    let at = |percent: usize| times[times.len() * percent / 100].as_secs_f64() * 1e3;
    (at(50), at(99))
}
