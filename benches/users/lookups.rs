//! The components that look up users, with the stand-in as Cognito. The bench `replicas` has them too.

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
    shared_cache::SharedCache,
    telemetry::metrics::Metrics,
    users::Users,
};
use cognito_standin::{Pool, StandIn, User};
use tonic::metadata::MetadataMap;

/// Users, and what makes permits to read them.
pub(super) struct Lookups {
    pub(super) users: Users,
    authenticator: Authenticator,
    policy: Policy,
}

impl Lookups {
    pub(super) async fn start(config: &Config, shared: Option<SharedCache>, metrics: &Metrics) -> Self {
        let mut errors = ErrorCollector::new(config);
        let pools = Pools::read(config, &mut errors).unwrap();
        let policy = Policy::read(config, Some(&pools), &mut errors).unwrap();
        let outgoing = Outgoing::default();
        let tokens = VerifiedTokens::new(config.cache.max_token_bytes, &config.revocation, metrics);
        let tokens = Arc::new(tokens);
        let authenticator = Authenticator::start(&pools, Arc::clone(&tokens), &metrics.tokens, &outgoing);
        authenticator.ready(&pools.only().unwrap().id).await;
        let (cache, budget) = (&config.cache, &config.budget);
        let users = Users::connect(&pools, cache, budget, tokens, shared, metrics, &outgoing).await;
        Self { users, authenticator, policy }
    }

    /// Returns the permit to read this user.
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
            sub: Some(sub(n).parse().unwrap()),
            pool: None,
            attributes: Selection::All,
            include_groups: false,
            freshness,
        };
        self.policy.rule(&caller.await.unwrap()).unwrap().permit(query).unwrap()
    }
}

/// Starts a Cognito with this many users and this quota of reads.
pub(super) fn cognito(people: usize, quota: u32) -> StandIn {
    let people = (0..people).map(|n| User { sub: sub(n), ..User::local(format!("name-{n}"), "x") });
    let cognito = StandIn::start(Pool { users: people.collect(), ..Pool::sandbox() }).unwrap();
    cognito.set_quota("UserRead", quota);
    cognito
}

/// Returns settings by which a caller on this machine may read every attribute of every user.
pub(super) fn config(cognito: &StandIn) -> Config {
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

pub(super) fn sub(n: usize) -> String {
    format!("b0b00000-5a4d-4b0c-8000-{n:012}")
}
