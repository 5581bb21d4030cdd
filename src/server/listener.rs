//! The ports: bound before anything is served, on the network or as a Unix socket.

mod socket;

use std::{io, net::SocketAddr};

use futures_util::FutureExt as _;
use tokio::{
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    task::yield_now,
};
use tokio_util::either::Either;

use self::socket::SocketFile;
use crate::{
    auth::Address,
    config::{Config, ListenAddress},
};

/// The two ports of a server, taken and not yet served.
#[derive(Debug)]
pub struct Listeners {
    pub(super) grpc: Listener,
    pub(super) admin: TcpListener,
}

impl Listeners {
    /// Takes both ports that the settings name; must be called in a Tokio runtime. Fails with the flag that names another.
    pub async fn bind(config: &Config) -> Result<Self, BindError> {
        let failed = |flag, address: &str, cause| BindError { flag, address: address.to_owned(), cause };
        let grpc = match &config.listen {
            ListenAddress::Tcp(address) => TcpListener::bind(address).await.map(Listener::Tcp),
            ListenAddress::Unix(path) => SocketFile::bind(path, config.socket_mode)
                .map(|(listener, file)| Listener::Unix(listener, file)),
        };
        let grpc = grpc.map_err(|cause| failed("--listen", &config.listen.to_string(), cause))?;
        let admin = TcpListener::bind(config.admin_listen).await;
        let admin =
            admin.map_err(|cause| failed("--admin-listen", &config.admin_listen.to_string(), cause))?;
        Ok(Self { grpc, admin })
    }

    /// Returns where gRPC is served: the port that was dealt where the settings left it open.
    pub fn grpc(&self) -> io::Result<ListenAddress> {
        self.grpc.local_address()
    }

    /// Returns where probes are answered.
    pub fn admin(&self) -> io::Result<SocketAddr> {
        self.admin.local_addr()
    }
}

/// A port could not be taken.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {cause}; choose another with {flag}")]
pub struct BindError {
    flag: &'static str,
    address: String,
    cause: io::Error,
}

/// The port that gRPC is served on.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

impl Listener {
    /// Returns the next connection; when `shut` is ready, the next of those whom the system has let in already, and none
    /// when it has no more: to close the port on them would break their connections. Cancel safe.
    pub(super) async fn next(&self, shut: impl Future<Output = ()>) -> Option<io::Result<Accepted>> {
        tokio::select! {
            biased;
            accepted = self.accept() => return Some(accepted),
            () = shut => {}
        }
        // The runtime may not have heard of them yet.
        yield_now().await;
        self.accept().now_or_never()
    }

    async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                // A gRPC message is a few small writes, none of which should wait for the other side's answer.
                stream.set_nodelay(true)?;
                Ok(Accepted { address: Address::Ip(address.ip()), stream: Stream::Tcp(stream.into_std()?) })
            }
            Self::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                Ok(Accepted { address: Address::Unix, stream: Stream::Unix(stream.into_std()?) })
            }
        }
    }

    pub(super) fn local_address(&self) -> io::Result<ListenAddress> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(ListenAddress::Tcp),
            Self::Unix(_, file) => Ok(ListenAddress::Unix(file.path().to_owned())),
        }
    }
}

/// A connection that was accepted, bound to no runtime yet.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) address: Address,
    pub(super) stream: Stream,
}

/// Its two ways of being.
#[derive(Debug)]
pub(super) enum Stream {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
}

impl Stream {
    /// Binds the connection to the runtime it is to be served on, in which this must be called.
    pub(super) fn into_tokio(self) -> io::Result<Either<TcpStream, UnixStream>> {
        Ok(match self {
            Self::Tcp(stream) => Either::Left(TcpStream::from_std(stream)?),
            Self::Unix(stream) => Either::Right(UnixStream::from_std(stream)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::{pending, ready},
        net::{Ipv4Addr, TcpStream},
    };

    use super::*;

    #[tokio::test]
    async fn whom_the_system_let_in_is_taken_before_the_port_closes() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let listener = Listener::Tcp(listener);
        // While the runtime looks elsewhere.
        let clients = [(); 3].map(|()| TcpStream::connect(address).unwrap());
        for client in &clients {
            let accepted = listener.next(ready(())).await.expect("it is let in").unwrap();
            let Stream::Tcp(stream) = accepted.stream else { panic!("of another kind") };
            assert_eq!(stream.peer_addr().unwrap(), client.local_addr().unwrap());
        }
        assert!(listener.next(ready(())).await.is_none());
        assert!(listener.next(pending()).now_or_never().is_none(), "an open port waits");
    }
}
