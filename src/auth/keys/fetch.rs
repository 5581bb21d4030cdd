//! Fetches a key set over HTTP: one GET of at most 64 KiB and 3 s. Redirects and proxies are not
//! followed.

use std::{io, time::Duration};

use bytes::Bytes;
use http::{StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::crypto::aws_lc_rs;
use thiserror::Error;
use tokio::time::timeout;

use super::set::InvalidSet;
use crate::telemetry::{error_chain, metrics::JwksFetchOutcome};

/// A client for one key server.
#[derive(Debug)]
pub(super) struct Fetcher(Client<HttpsConnector<HttpConnector>, Empty<Bytes>>);

impl Fetcher {
    /// Makes a client for `url`. It reads the system's root certificates only for HTTPS.
    pub(super) fn new(url: &Uri) -> Result<Self, FetcherError> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let builder = HttpsConnectorBuilder::new();
        let connector = if url.scheme_str() == Some("https") {
            let secure = builder.with_provider_and_native_roots(aws_lc_rs::default_provider())?;
            secure.https_only().enable_http1().wrap_connector(tcp)
        } else {
            let roots = rustls::ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into())
                .with_safe_default_protocol_versions()?
                .with_root_certificates(rustls::RootCertStore::empty())
                .with_no_client_auth();
            builder.with_tls_config(roots).https_or_http().enable_http1().wrap_connector(tcp)
        };
        Ok(Self(Client::builder(TokioExecutor::new()).build(connector)))
    }

    /// Returns the body of `url`. Any status but 200 is an error.
    pub(super) async fn fetch(&self, url: &Uri) -> Result<Bytes, FetchError> {
        timeout(TOTAL_TIMEOUT, self.body(url)).await.map_err(|_| FetchError::TimedOut)?
    }

    async fn body(&self, url: &Uri) -> Result<Bytes, FetchError> {
        let response = self.0.get(url.clone()).await?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status(response.status()));
        }
        let body = Limited::new(response.into_body(), MAX_BODY_BYTES).collect().await;
        Ok(body.map_err(|_| FetchError::Body)?.to_bytes())
    }
}

/// Why no client could be built.
#[derive(Debug, Error)]
pub(in crate::auth) enum FetcherError {
    #[error("the system's root certificates cannot be read: {0}")]
    Roots(#[from] io::Error),
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}

/// Why a fetch failed.
#[derive(Debug, Error)]
pub(super) enum FetchError {
    #[error("the response ended early or exceeds {MAX_BODY_BYTES} bytes")]
    Body,
    #[error("the connection failed: {}", error_chain(.0))]
    Connection(#[from] hyper_util::client::legacy::Error),
    #[error(transparent)]
    Set(#[from] InvalidSet),
    #[error("the response has status {0}")]
    Status(StatusCode),
    #[error("no response within {TOTAL_TIMEOUT:?}")]
    TimedOut,
}

impl FetchError {
    pub(super) fn outcome(&self) -> JwksFetchOutcome {
        match self {
            Self::Body => JwksFetchOutcome::Body,
            Self::Connection(_) => JwksFetchOutcome::Connection,
            Self::Set(_) => JwksFetchOutcome::Keys,
            Self::Status(_) => JwksFetchOutcome::Status,
            Self::TimedOut => JwksFetchOutcome::Timeout,
        }
    }
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const TOTAL_TIMEOUT: Duration = Duration::from_secs(3);
const MAX_BODY_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use tokio::{net::TcpListener, time::Instant};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_fetch_from_a_server_that_never_answers_times_out() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url: Uri = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
        let fetcher = Fetcher::new(&url).unwrap();
        let begun = Instant::now();
        assert!(fetcher.fetch(&url).await.is_err());
        assert!(begun.elapsed() <= TOTAL_TIMEOUT);
    }
}
