//! An HTTP/2 connection of the load generator, with or without TLS.

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;
use h2::{
    Ping, PingPong, RecvStream,
    client::{self, SendRequest},
};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    runtime::Handle,
};
use tokio_rustls::TlsConnector;

use crate::call::Call;

/// An open connection. A task of the runtime in which it was opened drives it.
pub(crate) struct Connection {
    pings: PingPong,
    sender: SendRequest<Bytes>,
}

/// Why a call or a connection failed.
pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;

impl Connection {
    pub(crate) async fn open(address: SocketAddr, tls: Option<&Arc<ClientConfig>>) -> Result<Self, Error> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let Some(tls) = tls else { return Self::over(stream).await };
        let name = ServerName::try_from("localhost")?;
        Self::over(TlsConnector::from(Arc::clone(tls)).connect(name, stream).await?).await
    }

    async fn over<S>(stream: S) -> Result<Self, Error>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (sender, mut connection) = client::handshake(stream).await?;
        let pings = connection.ping_pong().unwrap();
        Handle::current().spawn(connection);
        Ok(Self { pings, sender })
    }

    /// Makes a call and returns the reply, a Length-Prefixed-Message. Fails unless the gRPC status
    /// is OK.
    pub(crate) async fn call(&self, call: &Call) -> Result<Bytes, Error> {
        let mut sender = self.sender.clone().ready().await?;
        let (response, mut body) = sender.send_request(call.request(), false)?;
        body.send_data(call.body(), true)?;
        let (head, mut body) = response.await?.into_parts();
        let reply = read(&mut body).await?;
        // A Trailers-Only response has the status in its headers.
        let trailers = body.trailers().await?.unwrap_or(head.headers);
        match trailers.get("grpc-status") {
            Some(status) if status == "0" => Ok(reply),
            _ => Err(format!("the call failed: {trailers:?}").into()),
        }
    }

    /// Returns once the server has acknowledged a PING.
    pub(crate) async fn ping(&mut self) {
        self.pings.ping(Ping::opaque()).await.unwrap();
    }
}

/// Reads a body. Most replies are one DATA frame, which is not copied.
async fn read(body: &mut RecvStream) -> Result<Bytes, Error> {
    let mut reply = Bytes::new();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        reply = if reply.is_empty() { data } else { [reply, data].concat().into() };
    }
    Ok(reply)
}
