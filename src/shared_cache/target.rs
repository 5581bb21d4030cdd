//! Where the store is and how to connect to it.

use std::{fmt, net::IpAddr, path::PathBuf, slice, time::Duration};

use super::namespace::Namespace;

/// The store, as configured. Files are read at each connect.
#[derive(Clone, Debug)]
pub struct Target {
    /// How many servers there are, and how to find the right one.
    pub mode: Mode,
    /// TLS; none for a plain connection. Has no effect on a Unix socket.
    pub tls: Option<Tls>,
    /// How this process proves who it is.
    pub auth: Auth,
    /// The time limit of a call.
    pub timeout: Duration,
    /// The time limit of connecting to one server.
    pub connect_timeout: Duration,
    /// The first part of all keys.
    pub namespace: Namespace,
}

/// How many servers there are, and how to find the right one.
#[derive(Clone, Debug)]
pub enum Mode {
    /// One server, or a name that leads to the present primary.
    Standalone(Address),
    /// The sentinels at these addresses know the primary of this name.
    Sentinel {
        /// The sentinels; at least one.
        addresses: Vec<Address>,
        /// The name of the primary.
        name: String,
    },
    /// A cluster, which some of its nodes describe.
    Cluster(Vec<Address>),
}

/// The address of one server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Address {
    /// A host name or IP address, without brackets, and a port.
    Tcp {
        /// The host.
        host: String,
        /// The port.
        port: u16,
    },
    /// A Unix socket.
    Unix(PathBuf),
}

/// TLS to the store.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// `shared_cache.ca_file`: the certificates that the server's must lead to; none for those of the
    /// system.
    pub ca_file: Option<PathBuf>,
    /// The client certificate, if the server wants one.
    pub client: Option<ClientFiles>,
}

/// A client certificate and its key, both in PEM.
#[derive(Clone, Debug)]
pub struct ClientFiles {
    /// `shared_cache.certificate`.
    pub certificate: PathBuf,
    /// `shared_cache.key`.
    pub key: PathBuf,
}

/// How this process proves who it is.
#[derive(Clone, Debug)]
pub enum Auth {
    /// It does not.
    None,
    /// By a password.
    Password {
        /// The ACL user; none for the default user.
        username: Option<String>,
        /// `shared_cache.password_file`.
        password_file: PathBuf,
    },
    /// By an IAM token of Amazon ElastiCache.
    Iam(Iam),
}

/// An ElastiCache user that authenticates with IAM.
#[derive(Clone, Debug)]
pub struct Iam {
    /// The name of the replication group or serverless cache.
    pub cache: String,
    /// The user ID, which is its user name too.
    pub user: String,
    /// Whether the cache is a serverless one.
    pub serverless: bool,
    /// The Region; none for that of the AWS configuration.
    pub region: Option<String>,
}

impl Address {
    /// Returns whether it is on this machine, as far as its text shows.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp { host, .. } => {
                host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
            }
            Self::Unix(_) => true,
        }
    }
}

impl Mode {
    /// Returns the addresses that are connected to first.
    pub fn addresses(&self) -> &[Address] {
        match self {
            Self::Standalone(address) => slice::from_ref(address),
            Self::Sentinel { addresses, .. } | Self::Cluster(addresses) => addresses,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}
