//! The HTTP client of the AWS SDK. It never uses a connection pool again in which a call got no
//! response.

use std::{
    error::Error,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

pub use aws_smithy_runtime_api::client::http::SharedHttpClient;
use aws_smithy_runtime_api::client::{
    http::{
        HttpClient as AwsHttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings,
        SharedHttpConnector,
    },
    orchestrator::{HttpRequest, HttpResponse},
    result::ConnectorError,
    runtime_components::RuntimeComponents,
};
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use http_body_util::Full;
use tokio::time::timeout;

use super::{HttpClient, Outgoing, SendError};

impl Outgoing {
    /// Returns a client for the AWS SDK, with a connection pool of its own. A response of more than
    /// `max_bytes` is cut after one byte more; the SDK itself has no limit.
    pub fn aws_client(&self, max_bytes: usize) -> SharedHttpClient {
        let pool = Arc::new(Mutex::new(Pool { number: 0, client: self.http_client() }));
        SharedHttpClient::new(AwsClient { outgoing: self.clone(), pool, max_bytes })
    }
}

/// A client whose pool is replaced once a call in it got no response. If a firewall or a NAT
/// gateway has forgotten a connection, the others of its pool are likely dead too. Over HTTP/2 all
/// calls share one.
#[derive(Clone, Debug)]
struct AwsClient {
    outgoing: Outgoing,
    pool: Arc<Mutex<Pool>>,
    max_bytes: usize,
}

#[derive(Clone, Debug)]
struct Pool {
    /// Counts the pools before this one.
    number: u64,
    client: HttpClient,
}

impl AwsClient {
    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AwsHttpClient for AwsClient {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        _components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let limit = settings.read_timeout().map(|read| read + settings.connect_timeout().unwrap_or_default());
        SharedHttpConnector::new(Connector { client: self.clone(), limit })
    }
}

/// Makes calls that end within `limit`, if there is one.
#[derive(Debug)]
struct Connector {
    client: AwsClient,
    limit: Option<Duration>,
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (mut attempt, limit) = (Attempt::begin(&self.client), self.limit);
        let max_bytes = self.client.max_bytes;
        HttpConnectorFuture::new(async move {
            let request = convert(request).map_err(ConnectorError::user)?;
            let sent = attempt.pool.client.send(request, max_bytes);
            let sent = match limit {
                None => sent.await,
                Some(limit) => {
                    timeout(limit, sent).await.map_err(|elapsed| ConnectorError::timeout(elapsed.into()))?
                }
            };
            let response = sent.map_err(classify)?;
            attempt.answered();
            let response = HttpResponse::try_from(response.map(SdkBody::from));
            response.map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}

/// A call in progress. Dropping it before its response discards the pool; the SDK does so when its
/// own timeout ends the call.
struct Attempt {
    client: AwsClient,
    pool: Pool,
    is_answered: bool,
}

impl Attempt {
    fn begin(client: &AwsClient) -> Self {
        Self { client: client.clone(), pool: client.pool().clone(), is_answered: false }
    }

    fn answered(&mut self) {
        self.is_answered = true;
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let mut current = self.client.pool();
        if !self.is_answered && current.number == self.pool.number {
            *current = Pool { number: current.number + 1, client: self.client.outgoing.http_client() };
        }
    }
}

fn convert(request: HttpRequest) -> Result<http::Request<Full<Bytes>>, Box<dyn Error + Send + Sync>> {
    let request = request.try_into_http1x()?;
    // The calls that we make have no streams.
    let body = request.body().bytes().ok_or("the body of the request is a stream")?;
    let body = Full::new(Bytes::copy_from_slice(body));
    Ok(request.map(|_| body))
}

/// An operator must act if TLS does not trust the server; all other errors may be transient.
fn classify(error: SendError) -> ConnectorError {
    if is_tls(&error) { ConnectorError::other(error.into(), None) } else { ConnectorError::io(error.into()) }
}

fn is_tls(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<rustls::Error>() {
            return true;
        }
        // The source of an `io::Error` is that of the error in it.
        next = match error.downcast_ref::<io::Error>() {
            Some(io) => io.get_ref().map(|inner| inner as _),
            None => error.source(),
        };
    }
    false
}
