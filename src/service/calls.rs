//! What happens around every call, whichever method answers it: its deadline, its request id, the end of a panic; and
//! which one that is.

use std::{pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use tokio::time::Instant;
use tonic::{Status, body::Body, codegen::Service as _, service::Routes};
use tracing::Instrument as _;

use super::{
    Service,
    call::Call,
    inbound::{self, Untrailed},
    method::{METHODS, Method},
    unary,
};
use crate::{
    audit::{Ledger, Notes},
    auth::Peer,
    error::Error,
    telemetry::metrics::rpc::{Rpcs, Tally},
};

/// The services as a connection sees them; cheap to clone.
#[derive(Clone, Debug)]
pub struct Calls(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    service: Service,
    others: Routes,
    bounds: Bounds,
    ledger: Ledger,
    rpcs: Rpcs,
    tally: Tally,
}

/// What a call may take.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// How long it may take; its caller may set less (`grpc-timeout`).
    pub time: Duration,
    /// The bytes of its message.
    pub message: usize,
}

/// What the connection and the clock say of a call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival<'a> {
    /// The other end of the connection.
    pub(super) peer: &'a Peer,
    /// When the call must have been answered.
    pub(super) deadline: Instant,
    /// The name of the call.
    pub(super) request_id: &'a str,
    /// Where what is learned of the call is noted for its audit record.
    pub(super) notes: &'a Notes,
}

impl Calls {
    /// Bounds every call to `service` and to `others`, and records those about people in `ledger`.
    pub fn new(service: Service, others: Routes, bounds: Bounds, ledger: Ledger, rpcs: Rpcs) -> Self {
        let (others, tally) = (others.prepare(), rpcs.tally(METHODS));
        Self(Arc::new(Parts { service, others, bounds, ledger, rpcs, tally }))
    }

    /// Returns the same for another serving thread, with a ledger and counters of its own.
    pub fn another(&self) -> Self {
        let Parts { service, others, bounds, ledger, rpcs, .. } = &*self.0;
        let (service, others, rpcs, tally) =
            (service.clone(), others.clone(), rpcs.clone(), rpcs.tally(METHODS));
        Self(Arc::new(Parts { service, others, bounds: *bounds, ledger: ledger.another(), rpcs, tally }))
    }

    /// Answers a call; of a stream, its beginning is bounded. Whatever failed, the answer is a status with its details.
    /// Cancel safe: a call that is dropped is logged as cancelled, and what it began goes on as far as others share it.
    pub async fn answer<B>(self, request: Request<B>, peer: Peer) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send,
    {
        let Parts { bounds, ledger, tally, .. } = &*self.0;
        let call = Call::begin(request.uri().path(), request.headers(), bounds.time, tally);
        let (entry, span) = (call.entry(ledger), call.span(request.headers()));
        let outcome = {
            let (peer, deadline, request_id) = (&peer, call.deadline(), call.request_id());
            let arrival = Arrival { peer, deadline, request_id, notes: entry.notes() };
            // Pinned here, so that what bounds it hands on a pointer and not kilobytes.
            let answer = pin!(self.0.dispatch(call.method(), request.map(Untrailed), arrival));
            call.bounded(answer.instrument(span.clone())).await
        };
        let outcome = call.recorded(entry, outcome).await;
        call.end(outcome, &span)
    }
}

impl Parts {
    async fn dispatch<B>(
        &self,
        method: Method,
        request: Request<Untrailed<B>>,
        arrival: Arrival<'_>,
    ) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send,
    {
        let (service, most) = (&self.service, self.bounds.message);
        // Boxed, so that the future of a GetUser, most calls by far, is no larger for what it never does.
        macro_rules! rare {
            ($method:ident) => {
                Box::pin(unary::answer(request, most, |message| service.$method(message, arrival))).await
            };
        }
        match method {
            Method::GetUser => unary::answer(request, most, |message| service.get(message, arrival)).await,
            Method::BatchGetUsers => rare!(batch),
            Method::InspectUser => rare!(inspect),
            Method::ExpireUser => rare!(expire),
            Method::EraseUser => rare!(erase),
            Method::ExplainAccess => rare!(explain),
            Method::Reflect | Method::ReflectAlpha => {
                let deadline = Instant::now() + self.bounds.time;
                self.others(inbound::ending(request.map(Body::new), deadline)).await
            }
            Method::Check | Method::Watch | Method::List => self.others(request.map(Body::new)).await,
            Method::Other => Status::from(Error::Unimplemented).into_http(),
        }
    }

    async fn others(&self, request: Request<Body>) -> Response<Body> {
        let Ok(response) = Box::pin(self.others.clone().call(request)).await;
        response
    }
}
