//! The gRPC port, a TCP or Unix socket, and the admin port; bound before the server starts.

mod refused;
mod socket;

use std::{
    io,
    net::{self, SocketAddr},
    os::unix,
};

use futures_util::FutureExt as _;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    task::yield_now,
};
use tokio_util::{either::Either, io::InspectWriter};

use self::socket::SocketFile;
use crate::{
    auth::Address,
    config::{Config, ListenAddress},
};

/// The two bound ports of a server.
#[derive(Debug)]
pub struct Listeners {
    pub(super) grpc: Listener,
    pub(super) admin: TcpListener,
}

impl Listeners {
    /// Binds both ports of the settings. Must be called in a Tokio runtime. The error names the
    /// flag that selects another port.
    pub async fn bind(config: &Config) -> Result<Self, BindError> {
        let grpc = match &config.listen {
            ListenAddress::Tcp(address) => TcpListener::bind(address).await.map(Listener::Tcp),
            ListenAddress::Unix(path) => SocketFile::bind(path, config.socket_mode)
                .map(|(listener, file)| Listener::Unix(listener, file)),
        };
        let admin = TcpListener::bind(config.admin_listen).await;
        let failed =
            |flag, address: &dyn ToString, cause| BindError { flag, address: address.to_string(), cause };
        Ok(Self {
            grpc: grpc.map_err(|cause| failed("--listen", &config.listen, cause))?,
            admin: admin.map_err(|cause| failed("--admin-listen", &config.admin_listen, cause))?,
        })
    }

    /// Returns the address of the gRPC port, with the port number that the system chose for port 0.
    pub fn grpc(&self) -> io::Result<ListenAddress> {
        match &self.grpc {
            Listener::Tcp(listener) => listener.local_addr().map(ListenAddress::Tcp),
            Listener::Unix(_, file) => Ok(ListenAddress::Unix(file.path().to_owned())),
        }
    }

    /// Returns the address of the admin port.
    pub fn admin(&self) -> io::Result<SocketAddr> {
        self.admin.local_addr()
    }
}

/// A port could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {cause}; choose another with {flag}")]
pub struct BindError {
    flag: &'static str,
    address: String,
    cause: io::Error,
}

/// The gRPC port.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

impl Listener {
    /// Returns the next connection. Once `closing` completes, returns what is left in the backlog
    /// of the system and then `None`: closing the port earlier would reset those connections.
    /// Cancel safe.
    pub(super) async fn next(&self, closing: impl Future<Output = ()>) -> Option<io::Result<Accepted>> {
        tokio::select! {
            biased;
            accepted = self.accept() => return Some(accepted),
            () = closing => {}
        }
        // The runtime learns of new connections only when it runs.
        yield_now().await;
        self.accept().now_or_never()
    }

    async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                // A gRPC message is a few small writes, which must not wait for acknowledgements.
                stream.set_nodelay(true)?;
                Ok(Accepted { address: Address::Ip(address.ip()), stream: Either::Left(stream.into_std()?) })
            }
            Self::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                Ok(Accepted { address: Address::Unix, stream: Either::Right(stream.into_std()?) })
            }
        }
    }
}

/// An accepted connection that is not registered with a runtime yet.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) address: Address,
    stream: Either<net::TcpStream, unix::net::UnixStream>,
}

impl Accepted {
    /// Registers the stream with the current runtime, which will serve it.
    pub(super) fn into_stream(self) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
        Ok(match self.stream {
            Either::Left(stream) => Either::Left(TcpStream::from_std(stream)?),
            Either::Right(stream) => {
                Either::Right(InspectWriter::new(UnixStream::from_std(stream)?, refused::explainer()))
            }
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
    async fn connections_in_the_backlog_are_accepted_before_the_port_closes() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let listener = Listener::Tcp(listener);
        // The runtime does not run while they connect.
        let clients = [(); 3].map(|()| TcpStream::connect(address).unwrap());
        for client in &clients {
            let accepted = listener.next(ready(())).await.expect("a connection in the backlog").unwrap();
            let Either::Left(stream) = accepted.stream else { panic!("not a TCP stream") };
            assert_eq!(stream.peer_addr().unwrap(), client.local_addr().unwrap());
        }
        assert!(listener.next(ready(())).await.is_none());
        assert!(listener.next(pending()).now_or_never().is_none(), "an open port waits");
    }
}
