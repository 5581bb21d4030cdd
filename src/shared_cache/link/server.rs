//! Connecting to one server: socket, TLS, authentication.

use std::{future::Future, io, sync::Arc, time::Duration};

use redis::cmd;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    net::{TcpStream, UnixStream},
    time::{Instant, timeout_at},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    super::{
        fault::{Fault, FaultKind},
        target::Address,
    },
    classify,
    connection::Connection,
    credentials::Credentials,
    socket,
};

/// How to connect to each server of the store.
pub(super) struct Dialer {
    /// None for plain connections.
    pub(super) tls: Option<Arc<ClientConfig>>,
    /// When the attempt must have ended.
    pub(super) deadline: Instant,
}

impl Dialer {
    pub(super) fn new(tls: Option<ClientConfig>, time_limit: Duration) -> Self {
        Self { tls: tls.map(Arc::new), deadline: Instant::now() + time_limit }
    }

    /// Returns the time up to the deadline.
    pub(super) fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Connects to a server and authenticates.
    pub(super) async fn connect(
        &self,
        address: &Address,
        credentials: Option<&Credentials>,
    ) -> Result<Connection, Fault> {
        let connection = self.open(address).await?;
        self.first(async {
            if let Some(credentials) = credentials {
                credentials.present(&connection).await?;
            }
            // For operators who list the clients. A server or an ACL may refuse it.
            match connection.send(cmd("CLIENT").arg("SETNAME").arg(NAME)).await {
                Err(fault) if !matches!(fault.kind, FaultKind::Script | FaultKind::Credentials) => Err(fault),
                _ => Ok(()),
            }
        })
        .await?;
        Ok(connection)
    }

    /// The first exchange with a server to which a connection was just opened.
    pub(super) async fn first<T>(
        &self,
        exchange: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        self.limited(SILENT, exchange).await.map_err(|fault| self.explain(fault))
    }

    /// Ends an exchange with a server at the deadline, with what that means.
    async fn limited<T>(
        &self,
        late: &'static str,
        exchange: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        let ended = timeout_at(self.deadline, exchange).await;
        ended.unwrap_or_else(|_| Err(Fault::new(FaultKind::Timeout, late)))
    }

    /// Says what it may mean that a server closed the connection before its first answer.
    fn explain(&self, fault: Fault) -> Fault {
        if fault.kind != FaultKind::Closed || self.tls.is_some() {
            return fault;
        }
        Fault::new(FaultKind::Closed, format_args!("{fault}; {WITHOUT_TLS}"))
    }

    async fn open(&self, address: &Address) -> Result<Connection, Fault> {
        let (host, port) = match address {
            Address::Tcp { host, port } => (host, *port),
            Address::Unix(path) => {
                let stream = self.limited(UNREACHABLE, async {
                    UnixStream::connect(path).await.map_err(|error| unreachable(address, &error))
                });
                return Connection::open(stream.await?).await;
            }
        };
        let stream = self.limited(UNREACHABLE, async {
            socket::connect(host, port).await.map_err(|error| unreachable(address, &error))
        });
        let stream = stream.await?;
        match &self.tls {
            None => Connection::open(stream).await,
            Some(config) => Connection::open(self.handshake(config, host, stream).await?).await,
        }
    }

    async fn handshake(
        &self,
        config: &Arc<ClientConfig>,
        host: &str,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, Fault> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|error| Fault::new(FaultKind::Settings, format_args!("shared_cache.url: {error}")))?;
        let connecting = TlsConnector::from(Arc::clone(config)).connect(name, stream);
        self.limited(NO_TLS, async {
            connecting.await.map_err(|error| classify::tls_handshake_fault(&error))
        })
        .await
    }
}

fn unreachable(address: &Address, error: &io::Error) -> Fault {
    Fault::new(FaultKind::Closed, format_args!("{address} of shared_cache.url is unreachable: {error}"))
}

const NAME: &str = "cognito-lookup";
const UNREACHABLE: &str =
    "the address of shared_cache.url did not accept a connection within shared_cache.connect_timeout";
const NO_TLS: &str = "the server did not answer TLS within shared_cache.connect_timeout: check the scheme and the port of shared_cache.url";
const WITHOUT_TLS: &str = "if the server speaks TLS, shared_cache.url must begin with rediss://";
/// A server that accepts a connection and then says nothing.
const SILENT: &str =
    "the server accepted a connection but did not answer within shared_cache.connect_timeout";
