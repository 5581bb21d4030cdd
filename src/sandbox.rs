//! The `sandbox` command: the real server with an embedded Cognito emulator as its upstream.

mod arguments;
mod banner;
mod clearing;
mod control;
mod error;
mod shared_cache;

use std::{fmt::Display, fs, net::SocketAddr, path::PathBuf, time::Duration};

use cognito_standin::{Keys, Placement, Pool, StandIn, local_url};
use serde_json::json;

pub use self::{
    arguments::{Arguments, Output},
    control::{Control, ControlError},
    error::Error,
};
use self::{clearing::CacheClearing, shared_cache::SharedCache};
use crate::config::{
    AwsCredentials, CallerSettings, Config, EventScope, EventsSettings, ListenAddress, PoolSettings, Reads,
    ShutdownSettings, ValueSource,
};

/// The addresses of a replica: of gRPC, and of probes and metrics.
pub type Replica = (ListenAddress, SocketAddr);

/// A running emulator and the addresses of its servers. Dropping it stops the emulator.
#[derive(Debug)]
pub struct Sandbox {
    /// Those of gRPC and of probes and metrics, for each replica.
    addresses: Vec<(SocketAddr, SocketAddr)>,
    loopback_caller: bool,
    shared_cache: Option<SharedCache>,
    standin: StandIn,
}

impl Sandbox {
    /// Starts the emulator. Fails if one of the addresses is not on loopback and need be.
    pub fn start(arguments: &Arguments) -> Result<Self, Error> {
        if let Some(address) = arguments.remote_addresses().next().filter(|_| !arguments.allow_remote) {
            return Err(Error::NotLoopback(address));
        }
        let addresses = addresses(arguments)?;
        let shared_cache = arguments.shared_cache.clone().map(SharedCache::new).transpose();
        let shared_cache = shared_cache.map_err(Error::Keys)?;
        let pool = arguments.users.as_ref().map_or_else(|| Ok(Pool::sandbox()), read_pool)?;
        let placement = Placement {
            address: arguments.cognito,
            allow_remote: arguments.allow_remote,
            url: arguments.cognito_url.as_deref().map(|url| url.trim_end_matches('/').to_owned()),
        };
        let standin = StandIn::start_in(pool, &placement, Keys::shared().map_err(Error::Keys)?)
            .map_err(|error| Error::Listener(arguments.cognito, error))?;
        standin.set_scenario(arguments.fault);
        Ok(Self { addresses, loopback_caller: arguments.loopback_caller, shared_cache, standin })
    }

    /// Returns the settings of each replica. A user's token may read that user; the machine client may
    /// read any user by `sub` and may administer, and so may a caller on this machine if that was asked
    /// for.
    pub fn configs(&self) -> Vec<Config> {
        let config = self.config();
        let of_replica = |(listen, admin_listen): &(SocketAddr, SocketAddr)| Config {
            listen: ListenAddress::Tcp(*listen),
            admin_listen: *admin_listen,
            ..config.clone()
        };
        self.addresses.iter().map(of_replica).collect()
    }

    fn config(&self) -> Config {
        let flag = ValueSource::Flag("--shared-cache".to_owned());
        let replicas = self.addresses.len().try_into().unwrap_or(u16::MAX);
        let shared_cache = self.shared_cache.as_ref().map(|shared| shared.settings(replicas));
        Config {
            pools: vec![self.pool()],
            callers: self.callers(),
            shutdown: ShutdownSettings { delay: Duration::ZERO, ..ShutdownSettings::default() },
            shared_cache: shared_cache.unwrap_or_default(),
            events: self.events(),
            value_sources: [("shared_cache.url".to_owned(), flag)].into(),
            ..Config::default()
        }
    }

    fn callers(&self) -> Vec<CallerSettings> {
        let pool = self.standin.pool();
        let web = pool.web_clients.iter().enumerate().map(|(n, client)| CallerSettings {
            name: if n == 0 { "web".to_owned() } else { format!("web-{}", n + 1) },
            app_client: Some(client.clone()),
            reads: Reads::Token,
            attributes: ["name", "email", "locale", "custom:plan"].map(Into::into).into(),
            ..CallerSettings::default()
        });
        let privileged = || CallerSettings {
            reads: Reads::Any,
            attributes: ["name", "email", "username"].map(Into::into).into(),
            groups: true,
            watch: true,
            admin: true,
            ..CallerSettings::default()
        };
        let backends = pool.machine_clients.iter().map(|client| CallerSettings {
            name: "backend".to_owned(),
            app_client: Some(client.id.clone()),
            scope: client.scopes.first().cloned(),
            ..privileged()
        });
        let sidecar = self.loopback_caller.then(|| CallerSettings {
            name: "sidecar".to_owned(),
            network: ["127.0.0.0/8", "::1/128"].map(Into::into).into(),
            ..privileged()
        });
        web.chain(backends).chain(sidecar).collect()
    }

    /// Returns what to print at the start: the addresses, each user's token, and calls to paste; or the
    /// document of the control port.
    pub fn greeting(&self, output: Output, replicas: &[Replica]) -> String {
        let described = replicas
            .iter()
            .map(|(grpc, admin)| json!({"grpc": grpc.to_string(), "admin_url": format!("http://{admin}")}));
        self.standin.announce("replicas", described.collect());
        self.standin.announce("control_url", json!(format!("{}/sandbox", self.standin.public_url())));
        match output {
            Output::Text => {
                banner::text(&self.standin, replicas, self.shared_cache.as_ref().map(SharedCache::url))
            }
            Output::Json => self.standin.document().to_string(),
        }
    }

    /// Empties the caches of these replicas whenever the control port asks for it; never ends.
    pub async fn serve_control(&self, replicas: &[Replica]) {
        let grpc = replicas.iter().filter_map(|(grpc, _)| match grpc {
            ListenAddress::Tcp(address) => Some(local_url(*address)),
            ListenAddress::Unix(_) => None,
        });
        let clearing = CacheClearing { standin: &self.standin, replicas: grpc.collect() };
        clearing.run(self.standin.clearings()).await;
    }

    /// The queue of the emulator. Replicas that share nothing have none, because a message reaches one
    /// of them only.
    fn events(&self) -> EventsSettings {
        let scope = if self.shared_cache.is_some() { EventScope::Shared } else { EventScope::Own };
        if self.addresses.len() > 1 && scope == EventScope::Own {
            return EventsSettings::default();
        }
        EventsSettings {
            queue_url: Some(self.standin.queue_url()),
            region: self.standin.pool_id().split('_').next().map(ToOwned::to_owned),
            endpoint_url: Some(self.standin.endpoint_url()),
            scope,
            credentials: AwsCredentials::Placeholder,
            ..EventsSettings::default()
        }
    }

    fn app_clients(&self) -> Vec<String> {
        let pool = self.standin.pool();
        let machines = pool.machine_clients.iter().map(|client| client.id.clone());
        pool.web_clients.iter().cloned().chain(machines).collect()
    }

    fn pool(&self) -> PoolSettings {
        PoolSettings {
            id: self.standin.pool_id().to_owned(),
            app_clients: self.app_clients(),
            issuer: Some(self.standin.issuer().to_owned()),
            jwks_url: Some(self.standin.jwks_url()),
            endpoint_url: Some(self.standin.endpoint_url()),
            federated: true,
            credentials: AwsCredentials::Placeholder,
            ..PoolSettings::default()
        }
    }
}

/// Returns the addresses of gRPC and of probes and metrics, for each replica.
fn addresses(arguments: &Arguments) -> Result<Vec<(SocketAddr, SocketAddr)>, Error> {
    let Arguments { listen, admin_listen, replicas, .. } = *arguments;
    (0..replicas).map(|n| Ok((nth(listen, n)?, nth(admin_listen, n)?))).collect()
}

/// Returns the address whose port is the n-th after this one. Port 0, for which the system chooses
/// one, is that of all replicas.
fn nth(first: SocketAddr, n: u16) -> Result<SocketAddr, Error> {
    let port = if first.port() == 0 { Some(0) } else { first.port().checked_add(n) };
    Ok(SocketAddr::new(first.ip(), port.ok_or(Error::NoPort(first))?))
}

fn read_pool(path: &PathBuf) -> Result<Pool, Error> {
    let wrong = |problem: &dyn Display| Error::UsersFile(path.clone(), problem.to_string());
    let text = fs::read_to_string(path).map_err(|error| wrong(&error))?;
    Pool::from_json(&text).map_err(|error| wrong(&error))
}
