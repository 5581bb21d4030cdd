//! A connection of our own, with or without TLS.

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

use crate::question::Question;

/// An open connection; the runtime in which it was opened drives it.
pub(crate) struct Connection {
    pings: PingPong,
    sender: SendRequest<Bytes>,
}

/// Why there is no answer.
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

    /// Asks, and returns the reply in its frame. Fails unless the call succeeds.
    pub(crate) async fn ask(&self, question: &Question) -> Result<Bytes, Error> {
        let mut sender = self.sender.clone().ready().await?;
        let (response, mut body) = sender.send_request(question.request(), false)?;
        body.send_data(question.body(), true)?;
        let (head, mut body) = response.await?.into_parts();
        let reply = read(&mut body).await?;
        // What fails at once says so in its headers (gRPC over HTTP/2, "Trailers-Only").
        let trailers = body.trailers().await?.unwrap_or(head.headers);
        match trailers.get("grpc-status") {
            Some(status) if status == "0" => Ok(reply),
            _ => Err(format!("the call failed: {trailers:?}").into()),
        }
    }

    /// Returns once the server has answered a ping.
    pub(crate) async fn ping(&mut self) {
        self.pings.ping(Ping::opaque()).await.unwrap();
    }
}

/// Most replies are one piece, which is not copied.
async fn read(body: &mut RecvStream) -> Result<Bytes, Error> {
    let mut reply = Bytes::new();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        reply = if reply.is_empty() { data } else { [reply, data].concat().into() };
    }
    Ok(reply)
}
