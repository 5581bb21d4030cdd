//! The components that a call passes through, connected as in the server, with the Cognito stand-in
//! as upstream.

use std::{net::Ipv4Addr, path::Path, sync::Arc, time::Duration};

use cognito_lookup::{
    audit::{Audit, WriterHandle},
    auth::{Address, Authenticator, Peer, VerifiedTokens},
    config::{
        AuditSettings, AuditSink, AwsCredentials, CallerSettings, Config, ErrorCollector, PoolSettings, Reads,
    },
    memory::{ConnectionMemory, MemoryLimit},
    outgoing::Outgoing,
    policy::Policy,
    pool::Pools,
    service::{Dispatcher, Service},
    telemetry::metrics::Metrics,
    users::Users,
};
use cognito_standin::{Pool, StandIn};
use tokio::runtime::{Builder, Runtime};
use tonic::service::Routes;

pub(crate) struct Components {
    pub(crate) dispatcher: Dispatcher,
    /// The memory of the connection on which the calls come.
    pub(crate) memory: ConnectionMemory,
    pub(crate) cognito: StandIn,
    pub(crate) service: Service,
    _writer: WriterHandle,
    _upstream: Runtime,
}

impl Components {
    /// Starts all components, which write audit records to the file `records`. As in the server,
    /// calls to Cognito have a runtime of their own.
    pub(crate) fn start(records: &Path, change: impl FnOnce(&mut Config)) -> Self {
        let cognito = StandIn::start(Pool::sandbox()).unwrap();
        let mut config = config(&cognito, records);
        change(&mut config);
        let mut errors = ErrorCollector::new(&config);
        let metrics = Metrics::new();
        metrics.callers.set_names(config.callers.iter().map(|caller| &*caller.name));
        let pools = Pools::read(&config, &mut errors).unwrap();
        let policy = Arc::new(Policy::read(&config, Some(&pools), &mut errors).unwrap());
        let audit = Audit::read(&config, Some(&pools), &metrics, &mut errors).unwrap();
        let upstream = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let service = upstream.block_on(async {
            let outgoing = Outgoing::default();
            let tokens =
                Arc::new(VerifiedTokens::new(config.cache.max_token_bytes, &config.revocation, &metrics));
            let authenticator = Authenticator::start(&pools, Arc::clone(&tokens), &metrics.tokens, &outgoing);
            let users =
                Users::connect(&pools, &config.cache, &config.budget, tokens, None, &metrics, &outgoing)
                    .await;
            let service = Service::new(Arc::new(authenticator), policy, users);
            let pool = &pools.only().unwrap().id;
            service.keys_fetched(pool).await;
            service.credentials_found(pool).await;
            service
        });
        // The server itself adds health and reflection.
        let builtin = Routes::default();
        let dispatcher =
            Dispatcher::new(service.clone(), builtin, &config.limits, audit.recorder(), &metrics);
        let memory = ConnectionMemory::open(&MemoryLimit::new(1 << 30, 0, &metrics)).unwrap();
        Self { dispatcher, memory, cognito, service, _writer: audit.start().unwrap(), _upstream: upstream }
    }
}

/// Returns a runtime like that of a worker.
pub(crate) fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Returns a peer on the same host, without a certificate.
pub(crate) fn local_peer() -> Peer {
    Peer { address: Address::Ip(Ipv4Addr::LOCALHOST.into()), certificate: None }
}

/// Settings under which nothing expires while a bench runs, as in `benches/serve`.
fn config(cognito: &StandIn, records: &Path) -> Config {
    let rule = |name: &str| CallerSettings {
        name: name.into(),
        attributes: ATTRIBUTES.map(Into::into).into(),
        ..CallerSettings::default()
    };
    let web = cognito.pool().web_clients.first().cloned();
    let mut config = Config {
        pools: vec![PoolSettings {
            id: cognito.pool_id().into(),
            app_clients: web.clone().into_iter().collect(),
            issuer: Some(cognito.issuer().into()),
            jwks_url: Some(cognito.jwks_url()),
            endpoint_url: Some(cognito.endpoint_url()),
            credentials: AwsCredentials::Placeholder,
            ..PoolSettings::default()
        }],
        callers: vec![
            CallerSettings { app_client: web, ..rule("web") },
            CallerSettings { network: vec!["127.0.0.1/32".into()], reads: Reads::Any, ..rule("sidecar") },
        ],
        audit: AuditSettings {
            sink: AuditSink::File,
            path: Some(records.display().to_string()),
            ..AuditSettings::default()
        },
        ..Config::default()
    };
    (config.cache.fresh_for, config.cache.usable_for) = (DAY, DAY);
    config
}

const ATTRIBUTES: [&str; 6] = ["name", "given_name", "family_name", "email", "locale", "custom:plan"];
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
