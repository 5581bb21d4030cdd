//! What happens around every call, whichever service answers it: its deadline, its request id, the end of a panic.

use std::time::Duration;

use http::{Request, Response};
use tokio::time::Instant;
use tonic::{body::Body, codegen::Service as _, service::Routes};

use super::{call::Call, inbound};
use crate::auth::Peer;

/// The services as a connection sees them; cheap to clone.
#[derive(Clone, Debug)]
pub struct Calls {
    routes: Routes,
    longest: Duration,
}

/// What the connection and the clock say of a call; tonic's generated code leaves it no way but the request's
/// extensions, from which the service takes it at once.
#[derive(Clone, Debug)]
pub(super) struct Arrival {
    /// The other end of the connection.
    pub(super) peer: Peer,
    /// When the call must have been answered.
    pub(super) deadline: Instant,
}

impl Calls {
    /// Bounds every call to `routes` by its `grpc-timeout`, and by `longest`.
    pub fn new(routes: Routes, longest: Duration) -> Self {
        Self { routes: routes.prepare(), longest }
    }

    /// Answers a call; of a stream, its beginning is bounded. Whatever failed, the answer is a status with its details.
    /// Cancel safe: a call that is dropped is logged as cancelled, and what it began goes on as far as others share it.
    pub async fn answer(mut self, request: Request<Body>, peer: Peer) -> Response<Body> {
        let call = Call::begin(request.uri().path(), request.headers(), self.longest);
        let mut request = inbound::dropped(request);
        if call.is_open_ended() {
            request = inbound::ending(request, Instant::now() + self.longest);
        }
        request.extensions_mut().insert(Arrival { peer, deadline: call.deadline() });
        let outcome = call.bounded(async { self.routes.call(request).await }).await;
        call.end(outcome.map(|Ok(response)| response))
    }
}
