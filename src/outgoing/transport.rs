//! TCP connections to servers, directly or through a proxy.

use std::{
    fmt, io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::{
    client::legacy::connect::{Connected, Connection, HttpConnector, proxy::Tunnel},
    rt::TokioIo,
};
use rustls::ClientConfig;
use thiserror::Error;
use tokio::net::TcpStream;
use tonic::codegen::Service;

use super::proxy::{Proxies, Proxy};

/// Connects to servers. It does no TLS, but with the proxy; cheap to clone.
#[derive(Clone, Debug)]
pub struct Transport {
    tcp: HttpConnector,
    to_proxy: HttpsConnector<HttpConnector>,
    proxies: Arc<Proxies>,
    /// Whether a proxy forwards requests for `http` servers. Otherwise it tunnels them, as it does
    /// all others.
    forwards_http: bool,
}

impl Transport {
    pub(super) fn new(proxies: Arc<Proxies>, to_proxy: ClientConfig) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        // The kernel closes a connection whose peer is gone, and the pool then drops it.
        tcp.set_keepalive(Some(KEEPALIVE));
        tcp.set_keepalive_interval(Some(KEEPALIVE));
        tcp.set_keepalive_retries(Some(KEEPALIVE_RETRIES));
        let to_proxy = HttpsConnector::from((tcp.clone(), to_proxy));
        Self { tcp, to_proxy, proxies, forwards_http: true }
    }

    pub(super) fn tunnels_only(self) -> Self {
        Self { forwards_http: false, ..self }
    }

    async fn direct(mut self, target: Uri) -> Result<Stream, BoxError> {
        let io = MaybeHttpsStream::Http(self.tcp.call(target).await?);
        Ok(Stream { io, is_forwarded: false })
    }

    async fn by_proxy(mut self, proxy: &Proxy, target: Uri) -> Result<Stream, BoxError> {
        let uri = proxy.uri.clone();
        if self.forwards_http && target.scheme_str() == Some("http") {
            return Ok(Stream { io: self.to_proxy.call(uri).await?, is_forwarded: true });
        }
        let mut tunnel = Tunnel::new(uri, self.to_proxy);
        if let Some(authorization) = &proxy.authorization {
            tunnel = tunnel.with_auth(authorization.clone());
        }
        Ok(Stream { io: tunnel.call(target).await?, is_forwarded: false })
    }
}

impl Service<Uri> for Transport {
    type Response = Stream;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.to_proxy.poll_ready(context)
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        let transport = self.clone();
        let Some(proxy) = self.proxies.of(&target).cloned() else {
            return Box::pin(transport.direct(target));
        };
        Box::pin(async move {
            let connected = transport.by_proxy(&proxy, target).await;
            connected.map_err(|source| ProxyError { proxy, source }.into())
        })
    }
}

/// A connection by a proxy that failed.
#[derive(Debug, Error)]
#[error("the proxy {proxy}")]
struct ProxyError {
    proxy: Proxy,
    source: BoxError,
}

/// A connection to a server or its proxy.
pub struct Stream {
    io: MaybeHttpsStream<TokioIo<TcpStream>>,
    /// Whether a proxy forwards the requests, which must then name the whole URL (RFC 9112, section
    /// 3.2.2).
    is_forwarded: bool,
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        // The TLS connection to a proxy says nothing about the protocol of the server.
        match &self.io {
            MaybeHttpsStream::Http(io) => io.connected(),
            MaybeHttpsStream::Https(_) => Connected::new(),
        }
        .proxy(self.is_forwarded)
    }
}

impl Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl Write for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stream")
    }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const KEEPALIVE: Duration = Duration::from_secs(5);
const KEEPALIVE_RETRIES: u32 = 3;
