//! The admin port: probes for orchestrators and metrics for Prometheus, over plain HTTP/1.1.
//!
//! It serves no personal data, and it works when the gRPC port is saturated.

use std::{convert::Infallible, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    task::{JoinSet, spawn_blocking},
    time::{sleep, timeout},
};

use super::{readiness::Readiness, worker::Workers};
use crate::telemetry::metrics::{Format, Metrics};

/// What the admin port reports; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Admin {
    pub(super) metrics: Metrics,
    pub(super) readiness: Readiness,
    pub(super) workers: Arc<Workers>,
}

impl Admin {
    /// Serves forever, one request on each connection. Dropping the future closes the port.
    pub(super) async fn run(self, listener: TcpListener) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                    Ok((stream, _)) => drop(connections.spawn(self.clone().serve(stream))),
                    Err(_) => sleep(RETRY_DELAY).await,
                },
                Some(_) = connections.join_next() => {}
            }
        }
    }

    async fn serve(self, stream: TcpStream) {
        let service =
            service_fn(async |request: Request<Incoming>| Ok::<_, Infallible>(self.respond(&request).await));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .keep_alive(false)
            .serve_connection(TokioIo::new(stream), service);
        // A failed connection matters only to its client.
        drop(timeout(CONNECTION_TIMEOUT, connection).await);
    }

    async fn respond<B>(&self, request: &Request<B>) -> Response<String> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are supported\n");
        }
        match request.uri().path() {
            "/livez" if self.workers.all_respond().await => text(StatusCode::OK, "live\n"),
            "/livez" => text(StatusCode::SERVICE_UNAVAILABLE, "a serving thread does not respond\n"),
            "/readyz" if self.readiness.is_ready() => text(StatusCode::OK, "ready\n"),
            "/readyz" => text(StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
            // This port is opened as the last step of the start.
            "/startupz" => text(StatusCode::OK, "started\n"),
            "/version" => text(StatusCode::OK, concat!("cognito-lookup ", env!("CARGO_PKG_VERSION"), "\n")),
            "/metrics" => self.metrics(request.headers()).await,
            _ => text(StatusCode::NOT_FOUND, "not found; try /livez /readyz /startupz /metrics /version\n"),
        }
    }

    /// Returns the metrics in the format that the scraper accepts.
    async fn metrics(&self, headers: &HeaderMap) -> Response<String> {
        let accepted = headers.get_all(header::ACCEPT).iter().map(HeaderValue::to_str);
        let accepted: Vec<_> = accepted.filter_map(Result::ok).collect();
        let (metrics, format) = (self.metrics.clone(), Format::accepted(&accepted.join(",")));
        // Writing the sizes of the caches maintains them, which may take long.
        let Ok(metrics) = spawn_blocking(move || metrics.text_in(format)).await else {
            return text(StatusCode::INTERNAL_SERVER_ERROR, "the metrics could not be written\n");
        };
        let mut response = text(StatusCode::OK, metrics);
        let content_type = HeaderValue::from_static(format.content_type());
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
        response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
        response
    }
}

fn text(status: StatusCode, body: impl Into<String>) -> Response<String> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, PLAIN_TEXT);
    response
}

const PLAIN_TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
// Enough for the probes and a few scrapers; further connections wait.
const MAX_CONNECTIONS: usize = 64;
// Probes send their request at once. This is shorter than their own timeouts, which are 1 s or
// more, so a silent client does not make a waiting probe fail.
const HEADER_TIMEOUT: Duration = Duration::from_millis(500);
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(5);
const RETRY_DELAY: Duration = Duration::from_millis(100);
