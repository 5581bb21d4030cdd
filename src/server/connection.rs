//! The life of one connection: its handshake, its calls, and an end in good order if it can be had.

use std::{convert::Infallible, io, pin::pin, sync::Arc, time::Duration};

use futures_util::future::{Either, FutureExt as _, ready};
use http::{Request, Response};
use hyper::{
    body::Incoming,
    server::conn::http2,
    service::{Service, service_fn},
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, sleep, timeout_at},
};
use tracing::debug;

use super::{
    drain::{DrainPhase, DrainWatch},
    guarded_io::GuardedIo,
    listener::Accepted,
    readiness::Readiness,
    stall::{MonitoredBody, StallMonitor},
    tls::Tls,
};
use crate::{
    auth::{Certificate, Peer},
    config::LimitSettings,
    service::{Dispatcher, ResponseBody},
    telemetry::metrics::{CutReason, Metrics},
};

/// What every connection needs; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct ConnectionContext {
    pub(super) dispatcher: Dispatcher,
    pub(super) limits: Arc<LimitSettings>,
    pub(super) metrics: Metrics,
    pub(super) readiness: Readiness,
    pub(super) drain: DrainWatch,
    pub(super) tls: Option<Arc<Tls>>,
}

impl ConnectionContext {
    /// Returns the same for another serving thread.
    pub(super) fn another(&self) -> Self {
        Self { dispatcher: self.dispatcher.for_another_thread(), ..self.clone() }
    }

    /// Serves a connection until it ends. Dropped, it cuts the connection.
    pub(super) async fn serve(self, accepted: Accepted) {
        let mut drain = self.drain.clone();
        let ended = tokio::select! {
            ended = self.handshake(accepted) => ended,
            () = drain.reached(DrainPhase::Abort) => Err(DRAIN),
        };
        if let Err(ConnectionEnd::Cut(reason)) = ended {
            debug!(?reason, "connection cut");
            self.metrics.server.connections_cut.get(reason).inc();
        }
    }

    async fn handshake(&self, Accepted { address, stream }: Accepted) -> Result<(), ConnectionEnd> {
        let deadline = Instant::now() + self.limits.handshake_timeout;
        let (stream, stall_timeout) = (stream.into_tokio()?, self.limits.stall_timeout);
        match &self.tls {
            None => {
                let peer = Peer { address, certificate: None };
                self.serve_http2(GuardedIo::new(stream, deadline, stall_timeout), peer).await
            }
            Some(tls) => {
                let accepted = timeout_at(deadline, tls.acceptor().accept(stream)).await;
                let stream = accepted.map_err(|_| HANDSHAKE)?.map_err(|_| HANDSHAKE)?;
                let presented = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
                let certificate = presented.map(Certificate::read).map(Arc::new);
                self.serve_http2(
                    GuardedIo::new(stream, deadline, stall_timeout),
                    Peer { address, certificate },
                )
                .await
            }
        }
    }

    /// Asks the client to leave when the server closes or the connection is old; one that is old and has not left when
    /// every call must have been answered and taken is cut, and so is one whose client leaves its answers monitor.
    async fn serve_http2<S>(&self, stream: S, peer: Peer) -> Result<(), ConnectionEnd>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut drain = self.drain.clone();
        let monitor = StallMonitor::default();
        let service = self.http_service(peer, monitor.clone());
        let mut connection = pin!(self.http2_builder().serve_connection(TokioIo::new(stream), service));
        let mut stalled = pin!(monitor.stalled(self.limits.stall_timeout));
        let drain_timeout = tokio::select! {
            ended = connection.as_mut() => return ConnectionEnd::of(ended),
            () = stalled.as_mut() => return Err(STALL),
            // Until the server cuts what is left.
            () = drain.reached(DrainPhase::Closing) => None,
            () = sleep(jittered(self.limits.connection_age)) => Some(self.limits.request_timeout + self.limits.stall_timeout),
        };
        // A GOAWAY, and a second one when the client has seen the first: no call on its way to us is lost
        // (RFC 9113, section 6.8).
        connection.as_mut().graceful_shutdown();
        tokio::select! {
            ended = connection => ConnectionEnd::of(ended),
            () = stalled => Err(STALL),
            () = sleep(drain_timeout.unwrap_or_default()), if drain_timeout.is_some() => Err(DRAIN),
        }
    }

    fn http_service(
        &self,
        peer: Peer,
        monitor: StallMonitor,
    ) -> impl Service<
        Request<Incoming>,
        Response = Response<MonitoredBody>,
        Error = Infallible,
        Future = impl Future<Output = Result<Response<MonitoredBody>, Infallible>> + Send + use<>,
    > + use<> {
        let (dispatcher, readiness) = (self.dispatcher.clone(), self.readiness.clone());
        service_fn(move |request: Request<Incoming>| {
            let health = readiness.alb_health_check(request.uri().path());
            let answer = match health {
                Some(status) => Either::Left(ready(status.into_http().map(ResponseBody::Other))),
                None => Either::Right(dispatcher.clone().dispatch(request, peer.clone())),
            };
            let monitor = monitor.clone();
            // Boxed here, so that hyper and the runtime hand on a pointer and not kilobytes.
            Box::pin(answer.map(move |response| Ok(response.map(|body| monitor.monitor(body)))))
        })
    }

    fn http2_builder(&self) -> http2::Builder<TokioExecutor> {
        let limits = &self.limits;
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            // As in grpc-go: nothing on the way has use for it (RFC 9110, section 6.6.1, is about caches).
            .auto_date_header(false)
            .max_concurrent_streams(saturating_u32(limits.streams))
            .max_local_error_reset_streams(limits.local_error_resets)
            .max_pending_accept_reset_streams(limits.pending_accept_resets)
            .max_header_list_size(saturating_u32(limits.header_list))
            .keep_alive_interval(limits.keepalive_interval)
            .keep_alive_timeout(limits.keepalive_timeout)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(SEND_BUFFER);
        builder
    }
}

/// How a connection ended that did not end by itself.
enum ConnectionEnd {
    /// We cut it.
    Cut(CutReason),
    /// Its other end broke it off, or the http2_builder.
    Broken,
}

impl ConnectionEnd {
    fn of(ended: Result<(), hyper::Error>) -> Result<(), Self> {
        ended.map_err(|error| match io_kind(&error) {
            Some(io::ErrorKind::QuotaExceeded) => Self::Cut(CutReason::Flood),
            Some(io::ErrorKind::ResourceBusy) => STALL,
            Some(io::ErrorKind::TimedOut) => HANDSHAKE,
            _ => Self::Broken,
        })
    }
}

impl From<io::Error> for ConnectionEnd {
    fn from(_: io::Error) -> Self {
        Self::Broken
    }
}

fn io_kind(error: &hyper::Error) -> Option<io::ErrorKind> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return Some(error.kind());
        }
        cause = error.source();
    }
    None
}

/// Spread by a tenth, so that clients which came together do not leave together.
fn jittered(age: Duration) -> Duration {
    age.mul_f64(0.9 + 0.2 * fastrand::f64())
}

/// The bounds of the settings are well within.
fn saturating_u32(number: impl TryInto<u32>) -> u32 {
    number.try_into().unwrap_or(u32::MAX)
}

const HANDSHAKE: ConnectionEnd = ConnectionEnd::Cut(CutReason::Handshake);
const DRAIN: ConnectionEnd = ConnectionEnd::Cut(CutReason::Drain);
const STALL: ConnectionEnd = ConnectionEnd::Cut(CutReason::Stall);
// Envoy's advice for the edge; a request is one message of at most 64 KiB.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;
// Of one call; the largest user, 140 KB, goes in a few turns.
const SEND_BUFFER: usize = 64 * 1024;
