//! Connections to other servers: Cognito, AWS's credential endpoints, key servers and trace
//! collectors. Environment variables choose their proxy and root certificates, for all alike.

mod aws;
mod aws_error;
mod no_proxy;
mod proxy;
mod roots;
mod transport;

use std::{fmt, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{Request, Response, Uri, header::PROXY_AUTHORIZATION};
use http_body_util::{BodyExt as _, Full};
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::{self, Client},
    rt::{TokioExecutor, TokioTimer},
};
use rustls::{ClientConfig, pki_types::TrustAnchor};
use thiserror::Error;
use tracing::{info, warn};

pub use self::{
    aws::SharedHttpClient,
    aws_error::{sdk_error_kind, unsent_cause},
    transport::Transport,
};
use self::{proxy::Proxies, roots::Roots};
use crate::config::ErrorCollector;

/// How this process connects to other servers; cheap to clone.
#[derive(Clone)]
pub struct Outgoing(Arc<Shared>);

struct Shared {
    proxies: Arc<Proxies>,
    roots: Roots,
    tls: Arc<ClientConfig>,
    transport: Transport,
}

/// An environment variable that cannot be used.
#[derive(Debug, Error)]
#[error("{variable}: {problem}")]
pub struct VariableError {
    /// The name of the variable.
    pub variable: &'static str,
    /// What is wrong with its value. It never quotes a proxy's URL, which may hold a password.
    pub problem: String,
    /// Whether it may pass without a change of the variable, because a file is missing.
    pub may_pass: bool,
}

impl Outgoing {
    /// Reads `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, each in upper or lower case,
    /// and `AWS_CA_BUNDLE`, `SSL_CERT_FILE` and `SSL_CERT_DIR`. Returns all errors at once.
    pub fn from_environment() -> Result<Self, Vec<VariableError>> {
        let (proxies, roots) = (Proxies::from_environment(), Roots::from_environment());
        let mut errors = Vec::new();
        let mut collect = |error| errors.extend(error);
        let proxies = proxies.map_err(&mut collect).ok();
        let roots = roots.map_err(|error| collect(vec![error])).ok();
        proxies.zip(roots).map(|(proxies, roots)| Self::new(proxies, roots)).ok_or(errors)
    }

    /// As [`from_environment`](Self::from_environment). Returns none after adding to `errors`.
    pub fn read(errors: &mut ErrorCollector<'_>) -> Option<Self> {
        let outgoing = Self::from_environment();
        let add = |error: VariableError| errors.add_variable(error.variable, error.problem, error.may_pass);
        outgoing.map_err(|found| found.into_iter().for_each(add)).ok()
    }

    fn new(proxies: Proxies, roots: Roots) -> Self {
        let (proxies, tls) = (Arc::new(proxies), Arc::new(roots.client_config(&[b"h2", b"http/1.1"])));
        // A proxy is asked for a tunnel by HTTP/1.1 only.
        let transport = Transport::new(Arc::clone(&proxies), roots.client_config(&[b"http/1.1"]));
        Self(Arc::new(Shared { proxies, roots, tls, transport }))
    }

    /// Logs what the environment changes, and warns of HTTPS without root certificates.
    pub fn log(&self) {
        self.0.proxies.log();
        match self.0.roots.source {
            _ if self.0.roots.store.is_empty() => warn!(
                "the system has no root certificates, so every HTTPS connection fails: install them or set SSL_CERT_FILE"
            ),
            Some(source) => info!(source, "outgoing connections trust these root certificates only"),
            None => {}
        }
    }

    /// Returns an HTTP client with a connection pool of its own.
    pub fn http_client(&self) -> HttpClient {
        let connector = HttpsConnector::from((self.0.transport.clone(), Arc::clone(&self.0.tls)));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .build(connector);
        HttpClient { client, proxies: Arc::clone(&self.0.proxies) }
    }

    /// Returns a connector for a client that does TLS itself. It reaches every server through a
    /// tunnel if there is a proxy for it, because HTTP/2 cannot be forwarded.
    pub fn tunnels(&self) -> Transport {
        self.0.transport.clone().tunnels_only()
    }

    /// Returns the root certificates.
    pub fn trust_anchors(&self) -> Vec<TrustAnchor<'static>> {
        self.0.roots.store.roots.clone()
    }
}

/// Connects directly, and trusts no certificate.
impl Default for Outgoing {
    fn default() -> Self {
        Self::new(Proxies::default(), Roots::default())
    }
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Outgoing")
    }
}

/// An HTTP client and its pool of connections; cheap to clone.
#[derive(Clone, Debug)]
pub struct HttpClient {
    client: Client<HttpsConnector<Transport>, Full<Bytes>>,
    proxies: Arc<Proxies>,
}

/// Why there is no response.
#[derive(Debug, Error)]
pub enum SendError {
    /// The response ended early.
    #[error("the response ended early")]
    Body(#[source] hyper::Error),
    /// There was no connection, or it failed.
    #[error("the connection failed")]
    Connection(#[from] legacy::Error),
    /// The response was too large.
    #[error("the response is larger than {0} bytes")]
    TooLarge(usize),
}

impl HttpClient {
    /// Sends a request and reads the response. A body of more than `max_bytes` is cut after one byte
    /// more. Has no time limit but that of the TCP handshake, 1 s. Follows no redirects.
    pub async fn send(
        &self,
        mut request: Request<Full<Bytes>>,
        max_bytes: usize,
    ) -> Result<Response<Bytes>, SendError> {
        if let Some(authorization) = self.proxies.forward_authorization(request.uri()) {
            request.headers_mut().insert(PROXY_AUTHORIZATION, authorization.clone());
        }
        let (head, mut body) = self.client.request(request).await?.into_parts();
        let mut read = BytesMut::new();
        while let Some(frame) = body.frame().await {
            read.extend(frame.map_err(SendError::Body)?.into_data().unwrap_or_default());
            if read.len() > max_bytes {
                read.truncate(max_bytes + 1);
                break;
            }
        }
        Ok(Response::from_parts(head, read.freeze()))
    }

    /// As [`send`](Self::send), for a GET of `url`; fails if the response is too large.
    pub async fn get(&self, url: &Uri, max_bytes: usize) -> Result<Response<Bytes>, SendError> {
        let mut request = Request::new(Full::default());
        *request.uri_mut() = url.clone();
        let response = self.send(request, max_bytes).await?;
        if response.body().len() > max_bytes { Err(SendError::TooLarge(max_bytes)) } else { Ok(response) }
    }
}

// Less than the minute after which AWS's load balancers close an idle connection.
const IDLE_TIMEOUT: Duration = Duration::from_secs(50);
