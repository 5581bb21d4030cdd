//! One connection: the TLS handshake, its calls over HTTP/2, and the graceful close.

use std::{convert::Infallible, pin::pin, sync::Arc, time::Duration};

use futures_util::future::{Either, FutureExt as _, ready};
use http::{Request, Response};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, sleep, timeout_at},
};
use tracing::debug;

use super::{
    drain::{DrainPhase, DrainWatch},
    http2::{self, GuardedIo},
    listener::Accepted,
    readiness::Readiness,
    tls::{self, Tls},
};
use crate::{
    auth::{Certificate, Peer},
    config::LimitSettings,
    memory::ConnectionMemory,
    service::{Closing, Dispatcher, ResponseBody},
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
    /// Returns a context for another serving thread, with per-thread counters of its own.
    pub(super) fn for_another_thread(&self) -> Self {
        Self { dispatcher: self.dispatcher.for_another_thread(), ..self.clone() }
    }

    /// Serves a connection until it ends. Dropping the future cuts the connection.
    pub(super) async fn serve(self, accepted: Accepted, memory: ConnectionMemory) {
        let mut drain = self.drain.clone();
        let ended = tokio::select! {
            ended = self.handshake(accepted, &memory) => ended,
            () = drain.reached(DrainPhase::Abort) => Err(CutReason::Drain),
            () = memory.evicted() => Err(CutReason::Memory),
        };
        if let Err(reason) = ended {
            debug!(?reason, "connection cut");
            self.metrics.server.connections_cut.get(reason).inc();
        }
    }

    /// Fails only if the server cut the connection, not if the client did.
    async fn handshake(&self, accepted: Accepted, memory: &ConnectionMemory) -> Result<(), CutReason> {
        let (address, deadline) = (accepted.address, Instant::now() + self.limits.handshake_timeout);
        let Ok(stream) = accepted.into_stream() else { return Ok(()) };
        match &self.tls {
            None => self.serve_http2(stream, Peer { address, certificate: None }, deadline, memory).await,
            Some(tls) => {
                let accepted = timeout_at(deadline, tls.acceptor().accept(stream)).await;
                let Ok(Ok(stream)) = accepted else { return Err(CutReason::Handshake) };
                let presented = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
                let certificate =
                    presented.map(|der| Certificate::read(der).with_end(tls::certificate_end(der)));
                let certificate = certificate.map(Arc::new);
                self.serve_http2(stream, Peer { address, certificate }, deadline, memory).await
            }
        }
    }

    /// Closes the connection gracefully when the server drains or `limits.connection_age` is over.
    /// Cuts it if responses stall, or if it outlives its age by more than a call can last.
    async fn serve_http2<S>(
        &self,
        stream: S,
        peer: Peer,
        preface_deadline: Instant,
        memory: &ConnectionMemory,
    ) -> Result<(), CutReason>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (limits, mut drain) = (&self.limits, self.drain.clone());
        let io = TokioIo::new(GuardedIo::new(stream, preface_deadline, limits, memory.clone()));
        let closing = Closing::default();
        let service = service_fn(|mut request: Request<Incoming>| {
            closing.announce_to(&mut request);
            self.respond(request, peer.clone(), memory.clone())
        });
        let mut connection = pin!(http2::builder(limits).serve_connection(io, service));
        let mut stalled = pin!(memory.stalled(limits.stall_timeout));
        let close_timeout = tokio::select! {
            ended = connection.as_mut() => return http2::cut_reason(ended),
            () = stalled.as_mut() => return Err(CutReason::Stall),
            // The drain has a time limit of its own.
            () = drain.reached(DrainPhase::Closing) => None,
            () = sleep(jittered(limits.connection_age)) => Some(limits.request_timeout + limits.stall_timeout),
        };
        closing.begin();
        // Sends a first GOAWAY, and the final one after a round trip, so that no call in flight is
        // lost (RFC 9113, section 6.8).
        connection.as_mut().graceful_shutdown();
        tokio::select! {
            ended = connection => http2::cut_reason(ended),
            () = stalled => Err(CutReason::Stall),
            () = sleep(close_timeout.unwrap_or_default()), if close_timeout.is_some() => Err(CutReason::Drain),
        }
    }

    fn respond(
        &self,
        request: Request<Incoming>,
        peer: Peer,
        memory: ConnectionMemory,
    ) -> impl Future<Output = Result<Response<ResponseBody>, Infallible>> + Send + use<> {
        let response = match self.readiness.alb_health_check(request.uri().path()) {
            Some(status) => Either::Left(ready(status.into_http().map(ResponseBody::Other))),
            None => Either::Right(self.dispatcher.clone().dispatch(request, peer, memory)),
        };
        response.map(Ok)
    }
}

/// Varies the age by 10 %, so that clients that connected together do not reconnect together.
fn jittered(age: Duration) -> Duration {
    age.mul_f64(0.9 + 0.2 * fastrand::f64())
}
