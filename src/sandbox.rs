//! The `sandbox` command: the real server with an embedded Cognito emulator as its upstream, all on
//! loopback.

mod banner;

use std::{fmt::Display, fs, io, net::SocketAddr, path::PathBuf, time::Duration};

use clap::Args;
use cognito_standin::{Pool, StandIn};
use thiserror::Error;

use crate::{
    config::{AwsCredentials, CallerSettings, Config, ListenAddress, PoolSettings, Reads, ShutdownSettings},
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
}

/// A running emulator and the addresses of its server. Dropping it stops the emulator.
#[derive(Debug)]
pub struct Sandbox {
    listen: SocketAddr,
    admin_listen: SocketAddr,
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
        let pool = arguments.users.as_ref().map_or_else(|| Ok(Pool::sandbox()), read_pool)?;
        let standin = StandIn::start_at(pool, arguments.cognito)
            .map_err(|error| Error::Listener(arguments.cognito, error))?;
        Ok(Self { listen: arguments.listen, admin_listen: arguments.admin_listen, standin })
    }

    /// Returns the settings of the server. A user's token may read that user; a caller on this
    /// machine may read any user by `sub` and may administer.
    pub fn config(&self) -> Config {
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
            admin: true,
            ..CallerSettings::default()
        };
        Config {
            listen: ListenAddress::Tcp(self.listen),
            admin_listen: self.admin_listen,
            pools: vec![self.pool()],
            callers: web.chain([sidecar]).collect(),
            shutdown: ShutdownSettings { delay: Duration::ZERO, ..ShutdownSettings::default() },
            ..Config::default()
        }
    }

    /// Returns the text to print at the start: the addresses, each user's token, and calls to
    /// paste.
    pub fn banner(&self, listeners: &Listeners) -> io::Result<String> {
        Ok(banner::text(&self.standin, &listeners.grpc()?, listeners.admin()?))
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
    /// The users file cannot be read or is invalid.
    #[error("{path}: {1}", path = .0.display())]
    UsersFile(PathBuf, String),
}
