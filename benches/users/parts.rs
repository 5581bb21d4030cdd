//! The components that look up users, with the stand-in as Cognito.

use std::{net::Ipv4Addr, sync::Arc};

use cognito_lookup::{
    attribute::Selection,
    auth::{self, Authenticator, VerifiedTokens},
    config::{AwsCredentials, CallerSettings, Config, ErrorCollector, PoolSettings, Reads},
    freshness::FreshnessRequirement,
    outgoing::Outgoing,
    policy::{Permit, Policy},
    pool::Pools,
    query::Query,
    telemetry::metrics::{Metrics, cache::Store},
    users::Users,
};
use cognito_standin::{Pool, StandIn, User};
use tonic::metadata::MetadataMap;

pub(super) struct Parts {
    pub(super) cognito: StandIn,
    pub(super) users: Users,
    authenticator: Authenticator,
    policy: Policy,
    metrics: Metrics,
}

impl Parts {
    /// Starts them for `people` users, with changed settings.
    pub(super) async fn start(people: usize, change: impl FnOnce(&mut Config)) -> Self {
        let people = (0..people).map(|n| User { sub: sub(n), ..User::local(format!("name-{n}"), "x") });
        let cognito = StandIn::start(Pool { users: people.collect(), ..Pool::sandbox() }).unwrap();
        // Twentyfold as in `zipf`: the service takes the lower of the quota and the settings.
        cognito.set_quota("UserRead", 120 * 20);
        let mut config = config(&cognito);
        change(&mut config);
        let mut errors = ErrorCollector::new(&config);
        let pools = Pools::read(&config, &mut errors).unwrap();
        let policy = Policy::read(&config, Some(&pools), &mut errors).unwrap();
        let metrics = Metrics::new();
        let outgoing = Outgoing::default();
        let tokens =
            Arc::new(VerifiedTokens::new(config.cache.max_token_bytes, &config.revocation, &metrics));
        let authenticator = Authenticator::start(&pools, Arc::clone(&tokens), &metrics.tokens, &outgoing);
        authenticator.ready(&pools.only().unwrap().id).await;
        let users =
            Users::connect(&pools, &config.cache, &config.budget, tokens, None, &metrics, &outgoing).await;
        Self { cognito, users, authenticator, policy, metrics }
    }

    pub(super) fn evicted(&self) -> u64 {
        self.metrics.cache.evictions.get(Store::Users).get()
    }

    /// Returns the permit to read each of the first `people` users.
    pub(super) async fn permits(&self, people: usize) -> Arc<[Permit]> {
        let mut permits = Vec::with_capacity(people);
        for n in 0..people {
            permits.push(self.permit(&sub(n)).await);
        }
        permits.into()
    }

    async fn permit(&self, sub: &str) -> Permit {
        let metadata = MetadataMap::new();
        let address = auth::Address::Ip(Ipv4Addr::LOCALHOST.into());
        let peer = auth::Peer { address, certificate: None };
        let caller = self.authenticator.authenticate(auth::Credentials {
            metadata: &metadata,
            access_token: "",
            peer: &peer,
        });
        let query = Query {
            sub: Some(sub.parse().unwrap()),
            pool: None,
            attributes: Selection::All,
            include_groups: false,
            freshness: FreshnessRequirement::Any,
        };
        self.policy.rule(&caller.await.unwrap()).unwrap().permit(query).unwrap()
    }
}

fn config(cognito: &StandIn) -> Config {
    Config {
        pools: vec![PoolSettings {
            id: cognito.pool_id().into(),
            app_clients: cognito.pool().web_clients.clone(),
            issuer: Some(cognito.issuer().into()),
            jwks_url: Some(cognito.jwks_url()),
            endpoint_url: Some(cognito.endpoint_url()),
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
    }
}

fn sub(n: usize) -> String {
    format!("b0b00000-5a4d-4b0c-8000-{n:012}")
}
