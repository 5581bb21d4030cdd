//! The port for orchestrators and for Prometheus: plain HTTP, nothing personal, and never dependent on gRPC's port.

use std::{convert::Infallible, sync::Arc, time::Duration};

use http::{Method, Request, Response, StatusCode, header};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{readiness::Readiness, worker::Workers};
use crate::telemetry::metrics::Metrics;

/// What the port tells; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Admin {
    pub(super) metrics: Metrics,
    pub(super) readiness: Readiness,
    pub(super) workers: Arc<Workers>,
}

impl Admin {
    /// Serves for ever, a few connections at a time, each for one short question. Dropped, it closes the port.
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
        let service = service_fn(move |request: Request<Incoming>| {
            let admin = self.clone();
            async move { Ok::<_, Infallible>(admin.answer(request.method(), request.uri().path()).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_PATIENCE)
            .keep_alive(false)
            .serve_connection(TokioIo::new(stream), service);
        // How it ended concerns its client only.
        drop(timeout(PATIENCE, connection).await);
    }

    async fn answer(&self, method: &Method, path: &str) -> Response<String> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only GET is served\n");
        }
        match path {
            "/livez" if self.workers.all_respond().await => text(StatusCode::OK, "live\n"),
            "/livez" => text(StatusCode::SERVICE_UNAVAILABLE, "a serving thread does not answer\n"),
            "/readyz" if self.readiness.is_ready() => text(StatusCode::OK, "ready\n"),
            "/readyz" => text(StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
            // The port is bound last of all that a start does.
            "/startupz" => text(StatusCode::OK, "started\n"),
            "/version" => text(StatusCode::OK, concat!("cognito-lookup ", env!("CARGO_PKG_VERSION"), "\n")),
            "/metrics" => {
                let mut response = text(StatusCode::OK, &self.metrics.text());
                response.headers_mut().insert(header::CONTENT_TYPE, OPEN_METRICS);
                response
            }
            _ => text(StatusCode::NOT_FOUND, "there are /livez /readyz /startupz /metrics /version\n"),
        }
    }
}

fn text(status: StatusCode, body: &str) -> Response<String> {
    let mut response = Response::new(body.to_owned());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, PLAIN);
    response
}

const PLAIN: http::HeaderValue = http::HeaderValue::from_static("text/plain; charset=utf-8");
const OPEN_METRICS: http::HeaderValue =
    http::HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
// Probes and one or two scrapers; whoever opens more waits.
const MAX_CONNECTIONS: usize = 64;
// A prober asks at once; who does not must not keep the others waiting for longer than they wait.
const HEADER_PATIENCE: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(5);
const RETRY_DELAY: Duration = Duration::from_millis(100);
