//! The `sandbox` command: the real server with an embedded Cognito emulator as its upstream, all on
//! loopback.

mod banner;
mod shared_cache;

use std::{fmt::Display, fs, io, net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, value_parser};
use cognito_standin::{Pool, StandIn};
use thiserror::Error;

use self::shared_cache::SharedCache;
use crate::{
    config::{
        AwsCredentials, CallerSettings, Config, EventScope, EventsSettings, ListenAddress, PoolSettings,
        Reads, ShutdownSettings, ValueSource,
    },
    server::Listeners,
};

/// The options of the `sandbox` command.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The loopback address to serve on
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:50051")]
    listen: SocketAddr,
    /// The loopback address for probes and metrics
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9090")]
    admin_listen: SocketAddr,
    /// The loopback address of the Cognito emulator
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9229")]
    cognito: SocketAddr,
    /// A JSON file of the users to start with, instead of Ada, Grace and Bob
    #[arg(long, value_name = "FILE")]
    users: Option<PathBuf>,
    /// The number of replicas, each a whole server, on consecutive ports from --listen and
    /// --admin-listen on
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = value_parser!(u16).range(1..=16))]
    replicas: u16,
    /// The Valkey or Redis server through which the replicas share their caches, such as
    /// `redis://127.0.0.1:6379`; its keys are made for this process
    #[arg(long, value_name = "URL")]
    shared_cache: Option<String>,
}

/// A running emulator and the addresses of its servers. Dropping it stops the emulator.
#[derive(Debug)]
pub struct Sandbox {
    /// Those of gRPC and of probes and metrics, for each replica.
    addresses: Vec<(SocketAddr, SocketAddr)>,
    shared_cache: Option<SharedCache>,
    standin: StandIn,
}

impl Sandbox {
    /// Starts the emulator. Fails if one of the addresses is not on loopback.
    pub fn start(arguments: &Arguments) -> Result<Self, Error> {
        for address in [arguments.listen, arguments.admin_listen, arguments.cognito] {
            if !address.ip().is_loopback() {
                return Err(Error::NotLoopback(address));
            }
        }
        let addresses = addresses(arguments)?;
        let shared_cache = arguments.shared_cache.clone().map(SharedCache::new).transpose();
        let shared_cache = shared_cache.map_err(Error::Keys)?;
        let pool = arguments.users.as_ref().map_or_else(|| Ok(Pool::sandbox()), read_pool)?;
        let standin = StandIn::start_at(pool, arguments.cognito)
            .map_err(|error| Error::Listener(arguments.cognito, error))?;
        Ok(Self { addresses, shared_cache, standin })
    }

    /// Returns the settings of each replica. A user's token may read that user; a caller on this
    /// machine may read any user by `sub` and may administer.
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
        let web = self.standin.pool().web_clients.iter().enumerate().map(|(n, client)| CallerSettings {
            name: if n == 0 { "web".to_owned() } else { format!("web-{}", n + 1) },
            app_client: Some(client.clone()),
            reads: Reads::Token,
            attributes: ["name", "email", "locale", "custom:plan"].map(Into::into).into(),
            ..CallerSettings::default()
        });
        let sidecar = CallerSettings {
            name: "sidecar".to_owned(),
            network: ["127.0.0.0/8", "::1/128"].map(Into::into).into(),
            reads: Reads::Any,
            attributes: ["name", "email", "username"].map(Into::into).into(),
            groups: true,
            watch: true,
            admin: true,
            ..CallerSettings::default()
        };
        let flag = ValueSource::Flag("--shared-cache".to_owned());
        let replicas = self.addresses.len().try_into().unwrap_or(u16::MAX);
        let shared_cache = self.shared_cache.as_ref().map(|shared| shared.settings(replicas));
        Config {
            pools: vec![self.pool()],
            callers: web.chain([sidecar]).collect(),
            shutdown: ShutdownSettings { delay: Duration::ZERO, ..ShutdownSettings::default() },
            shared_cache: shared_cache.unwrap_or_default(),
            events: self.events(),
            value_sources: [("shared_cache.url".to_owned(), flag)].into(),
            ..Config::default()
        }
    }

    /// Returns the text to print at the start: the addresses, each user's token, and calls to
    /// paste.
    pub fn banner<'a>(&self, replicas: impl Iterator<Item = &'a Listeners>) -> io::Result<String> {
        let addresses = replicas.map(|listeners| Ok((listeners.grpc()?, listeners.admin()?)));
        let addresses = addresses.collect::<io::Result<Vec<_>>>()?;
        Ok(banner::text(&self.standin, &addresses, self.shared_cache.as_ref().map(SharedCache::url)))
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

    fn pool(&self) -> PoolSettings {
        PoolSettings {
            id: self.standin.pool_id().to_owned(),
            app_clients: self.standin.pool().web_clients.clone(),
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

/// Why the sandbox did not start.
#[derive(Debug, Error)]
pub enum Error {
    /// Other machines could connect to this address.
    #[error(
        "{0} is not a loopback address; the sandbox listens on loopback only, because anyone who can connect to it can \
         mint tokens and read its users"
    )]
    NotLoopback(SocketAddr),
    /// The emulator could not listen.
    #[error("the Cognito emulator cannot listen on {0}: {1}; choose another with --cognito")]
    Listener(SocketAddr, io::Error),
    /// There are not as many ports as replicas.
    #[error("{0} leaves too few ports above it for all replicas")]
    NoPort(SocketAddr),
    /// The keys of the shared cache could not be made.
    #[error("the keys of the shared cache cannot be written: {0}")]
    Keys(io::Error),
    /// The users file cannot be read or is invalid.
    #[error("{path}: {1}", path = .0.display())]
    UsersFile(PathBuf, String),
}
