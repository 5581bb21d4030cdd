//! Why the sandbox did not start.

use std::{io, net::SocketAddr, path::PathBuf};

use thiserror::Error;

/// Why the sandbox did not start.
#[derive(Debug, Error)]
pub enum Error {
    /// Other machines could connect to this address.
    #[error(
        "{0} is not a loopback address; the sandbox listens on loopback only, because anyone who can connect to it can \
         mint tokens and read its users. Where that is harmless, as in a container, give --allow-remote"
    )]
    NotLoopback(SocketAddr),
    /// The emulator could not listen.
    #[error("the Cognito emulator cannot listen on {0}: {1}; choose another with --cognito")]
    Listener(SocketAddr, io::Error),
    /// There are not as many ports as replicas.
    #[error("{0} leaves too few ports above it for all replicas")]
    NoPort(SocketAddr),
    /// The keys of the shared cache or of the pool could not be made.
    #[error("the keys of the sandbox cannot be made: {0}")]
    Keys(io::Error),
    /// The users file cannot be read or is invalid.
    #[error("{path}: {1}", path = .0.display())]
    UsersFile(PathBuf, String),
}
