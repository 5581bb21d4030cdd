//! What happens around every call, whichever method answers it: its deadline, its request id, the end of a panic; and
//! which one that is.

use std::{pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use tokio::time::Instant;
use tonic::{body::Body, codegen::Service as _, metadata::MetadataMap, service::Routes};
use tracing::Instrument as _;

use super::{
    Service,
    call::Call,
    inbound::{ending, untrailed},
    message,
    method::{METHODS, Method},
    response::ResponseBody,
};
use crate::{
    audit::{AuditContext, Recorder},
    auth::Peer,
    error::Error,
    telemetry::metrics::rpc::{RpcCounters, RpcMetrics},
};

/// The services as a connection sees them; cheap to clone.
#[derive(Clone, Debug)]
pub struct Calls(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    service: Service,
    others: Routes,
    bounds: Bounds,
    recorder: Recorder,
    rpcs: RpcMetrics,
    rpc_counters: RpcCounters,
}

/// What a call may take.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// How long it may take; its caller may set less (`grpc-timeout`).
    pub time: Duration,
    /// The bytes of its message.
    pub message: usize,
}

/// What is known of a call beside its message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival<'a> {
    /// What came with its message.
    pub(super) metadata: &'a MetadataMap,
    /// The other end of the connection.
    pub(super) peer: &'a Peer,
    /// When the call must have been answered.
    pub(super) deadline: Instant,
    /// The name of the call.
    pub(super) request_id: &'a str,
    /// Where what is learned of the call is noted for its audit record.
    pub(super) audit: &'a AuditContext,
}

impl Calls {
    /// Bounds every call to `service` and to `others`, and records those about people in `recorder`.
    pub fn new(
        service: Service,
        others: Routes,
        bounds: Bounds,
        recorder: Recorder,
        rpcs: RpcMetrics,
    ) -> Self {
        let (others, rpc_counters) = (others.prepare(), rpcs.for_thread(METHODS));
        Self(Arc::new(Parts { service, others, bounds, recorder, rpcs, rpc_counters }))
    }

    /// Returns the same for another serving thread, with a recorder and counters of its own.
    pub fn another(&self) -> Self {
        let Parts { service, others, bounds, recorder, rpcs, .. } = &*self.0;
        let (service, others, rpcs, rpc_counters) =
            (service.clone(), others.clone(), rpcs.clone(), rpcs.for_thread(METHODS));
        Self(Arc::new(Parts {
            service,
            others,
            bounds: *bounds,
            recorder: recorder.for_another_thread(),
            rpcs,
            rpc_counters,
        }))
    }

    /// Answers a call; of a stream, its beginning is bounded. Whatever failed, the answer is a status with its details.
    /// Cancel safe: a call that is dropped is logged as cancelled, and what it began goes on as far as others share it.
    #[expect(
        clippy::manual_async_fn,
        reason = "an async fn keeps each argument twice, and a request is large"
    )]
    pub fn answer<B>(
        self,
        request: Request<B>,
        peer: Peer,
    ) -> impl Future<Output = Response<ResponseBody>> + Send
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send,
    {
        async move {
            let Parts { bounds, recorder, rpc_counters, .. } = &*self.0;
            let call = Call::begin(request.uri().path(), request.headers(), bounds.time, rpc_counters);
            let (record, span) = (call.open_record(recorder), call.span(request.headers()));
            let outcome = if call.method().is_foreign() {
                let answer = Box::pin(self.0.foreign(call.method(), untrailed(request), call.deadline()));
                call.bounded(answer.instrument(span.clone())).await
            } else {
                let (metadata, mut body) = split(request);
                let arrival = Arrival {
                    metadata: &metadata,
                    peer: &peer,
                    deadline: call.deadline(),
                    request_id: call.request_id(),
                    audit: record.context(),
                };
                // Pinned here, so that what bounds it hands on a pointer and not kilobytes.
                let answer = pin!(self.0.own(call.method(), &mut body, arrival));
                call.bounded(answer.instrument(span.clone())).await
            };
            let outcome = call.recorded(record, outcome).await;
            call.end(outcome, &span)
        }
    }
}

/// Lets go at once of what is not needed any more.
fn split<B>(request: Request<B>) -> (MetadataMap, B) {
    let (head, body) = request.into_parts();
    (MetadataMap::from_headers(head.headers), body)
}

impl Parts {
    async fn own<B>(
        &self,
        method: Method,
        body: &mut B,
        arrival: Arrival<'_>,
    ) -> Result<Response<ResponseBody>, Error>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin,
    {
        let (service, most) = (&self.service, self.bounds.message);
        macro_rules! answer {
            ($method:ident) => {
                async {
                    let message = message::read(arrival.metadata, body, most).await?;
                    service.$method(&message, arrival).await
                }
            };
        }
        // Boxed, so that the future of a GetUser, most calls by far, is no larger for what it never does.
        let answer = match method {
            Method::GetUser => answer!(get).await,
            Method::BatchGetUsers => Box::pin(answer!(batch)).await,
            Method::InspectUser => Box::pin(answer!(inspect)).await,
            Method::ExpireUser => Box::pin(answer!(expire)).await,
            Method::EraseUser => Box::pin(answer!(erase)).await,
            Method::ExplainAccess => Box::pin(answer!(explain)).await,
            Method::Check
            | Method::Watch
            | Method::List
            | Method::Reflect
            | Method::ReflectAlpha
            | Method::Other => Err(Error::Unimplemented),
        };
        answer.map(ResponseBody::response)
    }

    async fn foreign(
        &self,
        method: Method,
        request: Request<Body>,
        deadline: Instant,
    ) -> Result<Response<ResponseBody>, Error> {
        let request = if method.is_asked_in_a_stream() { ending(request, deadline) } else { request };
        let Ok(response) = self.others.clone().call(request).await;
        match Error::of(&response) {
            None => Ok(response.map(ResponseBody::Other)),
            Some(error) => Err(error),
        }
    }
}
