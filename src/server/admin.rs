//! The admin port: probes for orchestrators and metrics for Prometheus, over plain HTTP/1.1.
//!
//! It serves no personal data, and it works when the gRPC port is saturated. It has a bound of its
//! own on connections, beyond which the oldest makes room, so silent clients keep no probe out.

use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode,
    header::{self, HeaderName},
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Mutex,
    task::{AbortHandle, JoinSet, spawn_blocking},
    time::{sleep, timeout},
};

use super::{readiness::Readiness, status_page, worker::Workers};
use crate::telemetry::metrics::{Format, Metrics};

/// What the admin port reports; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Admin {
    pub(super) metrics: Metrics,
    pub(super) readiness: Readiness,
    pub(super) workers: Arc<Workers>,
    /// Held while metrics are written: one at a time, because a thread cannot be cancelled.
    pub(super) writing: Arc<Mutex<()>>,
}

impl Admin {
    /// Serves forever, one request on each connection. Dropping the future closes the port.
    pub(super) async fn run(self, listener: TcpListener) {
        let (mut tasks, mut open) = (JoinSet::new(), VecDeque::new());
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        make_room(&mut open);
                        let is_asking = Arc::new(AtomicBool::new(false));
                        let task = tasks.spawn(self.clone().serve(stream, Arc::clone(&is_asking)));
                        open.push_back(Connection { task, is_asking });
                    }
                    Err(_) => sleep(RETRY_DELAY).await,
                },
                Some(_) = tasks.join_next() => {}
            }
        }
    }

    async fn serve(self, stream: TcpStream, is_asking: Arc<AtomicBool>) {
        let service = service_fn(async |request: Request<Incoming>| {
            is_asking.store(true, Relaxed);
            Ok::<_, Infallible>(self.respond(&request).await)
        });
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
            "/readyz" => self.readyz(request.uri().query() == Some("verbose")),
            // This port is opened as the last step of the start.
            "/startupz" => text(StatusCode::OK, "started\n"),
            "/version" => text(StatusCode::OK, concat!("cognito-lookup ", env!("CARGO_PKG_VERSION"), "\n")),
            "/metrics" => self.metrics(request.headers()).await,
            "/statusz" => self.statusz().await,
            _ => text(StatusCode::NOT_FOUND, NOT_FOUND),
        }
    }

    /// Returns whether the server is ready and, if `verbose`, what is missing.
    fn readyz(&self, verbose: bool) -> Response<String> {
        let receiver = self.readiness.subscribe();
        let state = receiver.borrow();
        let (status, summary) = match state.is_ready() {
            true => (StatusCode::OK, "ready\n"),
            false => (StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
        };
        if verbose { text(status, state.describe() + summary) } else { text(status, summary) }
    }

    /// Returns the status page.
    async fn statusz(&self) -> Response<String> {
        let (metrics, readiness) = (self.metrics.clone(), self.readiness.subscribe());
        let render = move || {
            let samples = metrics.samples();
            status_page::render(&samples, &readiness.borrow(), SystemTime::now())
        };
        let Some(page) = one_at_a_time(&self.writing, render).await else {
            return text(StatusCode::INTERNAL_SERVER_ERROR, "the page could not be written\n");
        };
        let mut response = Response::new(page);
        for (name, value) in PAGE_HEADERS {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }

    /// Returns the metrics in the format that the scraper accepts.
    async fn metrics(&self, headers: &HeaderMap) -> Response<String> {
        let accepted = headers.get_all(header::ACCEPT).iter().map(HeaderValue::to_str);
        let accepted: Vec<_> = accepted.filter_map(Result::ok).collect();
        let (metrics, format) = (self.metrics.clone(), Format::accepted(&accepted.join(",")));
        // Writing the sizes of the caches maintains them, which may take long.
        let Some(metrics) = one_at_a_time(&self.writing, move || metrics.text_in(format)).await else {
            return text(StatusCode::INTERNAL_SERVER_ERROR, "the metrics could not be written\n");
        };
        let mut response = text(StatusCode::OK, metrics);
        let content_type = HeaderValue::from_static(format.content_type());
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
        response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
        response
    }
}

/// Runs `write` on a thread of its own, after those before it. None if it panicked. If this is
/// dropped, it still ends before the next one begins.
async fn one_at_a_time<T: Send + 'static>(
    writing: &Arc<Mutex<()>>,
    write: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let writing = Arc::clone(writing).lock_owned().await;
    let write = move || {
        let _writing = writing;
        write()
    };
    spawn_blocking(write).await.ok()
}

/// An open connection of the admin port.
struct Connection {
    task: AbortHandle,
    /// Whether its request has come.
    is_asking: Arc<AtomicBool>,
}

/// Closes the oldest connection if there are too many: one whose request has not come, if any.
fn make_room(open: &mut VecDeque<Connection>) {
    if open.len() < MAX_CONNECTIONS {
        return;
    }
    open.retain(|connection| !connection.task.is_finished());
    if open.len() >= MAX_CONNECTIONS {
        let silent = open.iter().position(|connection| !connection.is_asking.load(Relaxed));
        open.remove(silent.unwrap_or(0)).inspect(|oldest| oldest.task.abort());
    }
}

fn text(status: StatusCode, body: impl Into<String>) -> Response<String> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, PLAIN_TEXT);
    response
}

const NOT_FOUND: &str =
    "not found; try /livez /readyz /readyz?verbose /startupz /statusz /metrics /version\n";
// The page has no script, and a browser runs none.
const PAGE_HEADERS: [(HeaderName, &str); 4] = [
    (header::CONTENT_TYPE, "text/html; charset=utf-8"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::CACHE_CONTROL, "no-store"),
];
const PLAIN_TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
// Enough for the probes and a few scrapers.
const MAX_CONNECTIONS: usize = 64;
// Probes send their request at once.
const HEADER_TIMEOUT: Duration = Duration::from_millis(500);
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(5);
const RETRY_DELAY: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread};

    use super::*;

    /// A scraper that gives up and tries again must not start a second thread.
    #[tokio::test]
    async fn metrics_are_written_one_at_a_time_even_if_nobody_waits_for_them() {
        let (writing, is_running) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let (begun, has_begun) = mpsc::channel();
        let first = {
            let (writing, is_running) = (Arc::clone(&writing), Arc::clone(&is_running));
            let write = move || {
                is_running.store(true, Relaxed);
                begun.send(()).unwrap();
                // Long enough for another one to begin.
                thread::sleep(Duration::from_millis(200));
                is_running.store(false, Relaxed);
            };
            #[expect(clippy::disallowed_methods, reason = "joined below")]
            tokio::spawn(async move { one_at_a_time(&writing, write).await })
        };
        while has_begun.try_recv().is_err() {
            tokio::task::yield_now().await;
        }
        first.abort();
        assert!(first.await.unwrap_err().is_cancelled());
        let ran_beside = one_at_a_time(&writing, move || is_running.load(Relaxed)).await;
        assert_eq!(ran_beside, Some(false));
    }
}
