//! What happens around every call, whichever service answers it: its deadline, its request id, the end of a panic.

use std::{sync::Arc, time::Duration};

use http::{Request, Response};
use tokio::time::Instant;
use tonic::{body::Body, codegen::Service as _, service::Routes};
use tracing::Instrument as _;

use super::{call::Call, inbound, method::METHODS};
use crate::{
    audit::{Ledger, Notes},
    auth::Peer,
    telemetry::metrics::rpc::{Rpcs, Tally},
};

/// The services as a connection sees them; cheap to clone.
#[derive(Clone, Debug)]
pub struct Calls {
    routes: Routes,
    longest: Duration,
    ledger: Ledger,
    rpcs: Rpcs,
    tally: Tally,
}

/// What the connection and the clock say of a call; tonic's generated code leaves it no way but the request's
/// extensions, from which the service takes it at once.
#[derive(Clone, Debug)]
pub(super) struct Arrival {
    /// The other end of the connection.
    pub(super) peer: Peer,
    /// When the call must have been answered.
    pub(super) deadline: Instant,
    /// The name of the call.
    pub(super) request_id: Arc<str>,
    /// Where what is learned of the call is noted for its audit record.
    pub(super) notes: Notes,
}

impl Calls {
    /// Bounds every call to `routes` by its `grpc-timeout`, and by `longest`, and records those about people in `ledger`.
    pub fn new(routes: Routes, longest: Duration, ledger: Ledger, rpcs: Rpcs) -> Self {
        let tally = rpcs.tally(METHODS);
        Self { routes: routes.prepare(), longest, ledger, rpcs, tally }
    }

    /// Returns the same for another serving thread, with a ledger and counters of its own.
    pub fn another(&self) -> Self {
        Self { ledger: self.ledger.another(), tally: self.rpcs.tally(METHODS), ..self.clone() }
    }

    /// Answers a call; of a stream, its beginning is bounded. Whatever failed, the answer is a status with its details.
    /// Cancel safe: a call that is dropped is logged as cancelled, and what it began goes on as far as others share it.
    pub async fn answer(self, request: Request<Body>, peer: Peer) -> Response<Body> {
        let Self { mut routes, longest, ledger, tally, .. } = self;
        let call = Call::begin(request.uri().path(), request.headers(), longest, tally);
        let entry = call.entry(&ledger);
        let mut request = inbound::dropped(request);
        if call.is_open_ended() {
            request = inbound::ending(request, Instant::now() + longest);
        }
        let span = call.span(request.headers());
        let (deadline, request_id, notes) = (call.deadline(), call.request_id(), entry.notes());
        request.extensions_mut().insert(Arrival { peer, deadline, request_id, notes });
        let outcome = call.bounded(async { routes.call(request).await }.instrument(span.clone())).await;
        let outcome = call.recorded(entry, outcome.map(|Ok(response)| response)).await;
        call.end(outcome, &span)
    }
}
