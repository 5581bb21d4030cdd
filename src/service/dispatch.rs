//! What happens around every call, whichever method answers it: its deadline, its request id, the end of a panic; and
//! which one that is.

use std::{
    pin::pin,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use tokio::time::Instant;
use tonic::{body::Body, codegen::Service as _, metadata::MetadataMap, service::Routes};
use tracing::Instrument as _;

use super::{
    Service, decode,
    inbound::{ending, untrailed},
    method::Method,
    observe::{CallCounters, CallObserver},
    respond::ResponseBody,
};
use crate::{
    audit::{OpenRecord, Recorder},
    auth::Peer,
    error::Error,
    telemetry::metrics::Metrics,
};

/// The services as a connection sees them; cheap to clone.
#[derive(Clone, Debug)]
pub struct Dispatcher(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    service: Service,
    builtin: Routes,
    limits: CallLimits,
    recorder: Recorder,
    metrics: Metrics,
    counters: CallCounters,
}

/// What a call may take.
#[derive(Clone, Copy, Debug)]
pub struct CallLimits {
    /// How long it may take; its caller may set less (`grpc-timeout`).
    pub timeout: Duration,
    /// The bytes of its message.
    pub max_message_bytes: usize,
}

/// What is known of a call beside its message.
#[derive(Clone, Copy, Debug)]
pub(super) struct CallContext<'a> {
    /// What came with its message.
    pub(super) metadata: &'a MetadataMap,
    /// The other end of the connection.
    pub(super) peer: &'a Peer,
    /// When the call must have been answered.
    pub(super) deadline: Instant,
    /// The name of the call.
    pub(super) request_id: &'a str,
    /// The audit record of the call.
    pub(super) audit: &'a OpenRecord<'a>,
    /// The configured name of the caller, which the call is counted under.
    pub(super) caller: &'a OnceLock<Arc<str>>,
}

impl CallContext<'_> {
    /// Notes the caller's configured name, for the audit record and the metric; none if no rule matches the caller.
    pub(super) fn set_caller(&self, name: Option<&Arc<str>>) {
        self.audit.set_caller(name);
        if let Some(name) = name {
            self.caller.get_or_init(|| Arc::clone(name));
        }
    }
}

impl Dispatcher {
    /// Bounds every call to `service` and to `builtin`, counts it in `metrics` and records those about people in
    /// `recorder`.
    pub fn new(
        service: Service,
        builtin: Routes,
        limits: CallLimits,
        recorder: Recorder,
        metrics: &Metrics,
    ) -> Self {
        let (builtin, counters) = (builtin.prepare(), CallCounters::for_thread(metrics));
        Self(Arc::new(Shared { service, builtin, limits, recorder, metrics: metrics.clone(), counters }))
    }

    /// Returns the same for another serving thread, with a recorder and counters of its own.
    pub fn for_another_thread(&self) -> Self {
        let Shared { service, builtin, limits, recorder, metrics, .. } = &*self.0;
        Self(Arc::new(Shared {
            service: service.clone(),
            builtin: builtin.clone(),
            limits: *limits,
            recorder: recorder.for_another_thread(),
            metrics: metrics.clone(),
            counters: CallCounters::for_thread(metrics),
        }))
    }

    /// Answers a call; of a stream, its beginning is bounded. Whatever failed, the answer is a status with its details.
    /// Cancel safe: a call that is dropped is logged as cancelled, and what it began goes on as far as others share it.
    #[expect(
        clippy::manual_async_fn,
        reason = "an async fn keeps each argument twice, and a request is large"
    )]
    pub fn dispatch<B>(
        self,
        request: Request<B>,
        peer: Peer,
    ) -> impl Future<Output = Response<ResponseBody>> + Send
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send,
    {
        async move {
            let Shared { limits, recorder, counters, .. } = &*self.0;
            let call = CallObserver::start(request.uri().path(), request.headers(), limits.timeout, counters);
            let (record, span) = (call.open_record(recorder), call.span(request.headers()));
            let outcome = if call.method().is_builtin() {
                let answer = Box::pin(self.0.builtin(call.method(), untrailed(request), call.deadline()));
                call.run(answer.instrument(span.clone())).await
            } else {
                let (metadata, mut body) = split(request);
                let context = CallContext {
                    metadata: &metadata,
                    peer: &peer,
                    deadline: call.deadline(),
                    request_id: call.request_id(),
                    audit: &record,
                    caller: call.caller(),
                };
                // Pinned here, so that what bounds it hands on a pointer and not kilobytes.
                let answer = pin!(self.0.own(call.method(), &mut body, context));
                call.run(answer.instrument(span.clone())).await
            };
            let outcome = call.record(record, outcome).await;
            call.finish(outcome, &span)
        }
    }
}

/// Lets go at once of what is not needed any more.
fn split<B>(request: Request<B>) -> (MetadataMap, B) {
    let (head, body) = request.into_parts();
    (MetadataMap::from_headers(head.headers), body)
}

impl Shared {
    async fn own<B>(
        &self,
        method: Method,
        body: &mut B,
        context: CallContext<'_>,
    ) -> Result<Response<ResponseBody>, Error>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin,
    {
        let (service, most) = (&self.service, self.limits.max_message_bytes);
        macro_rules! answer {
            ($method:ident) => {
                async {
                    let message = decode::message(context.metadata, body, most).await?;
                    service.$method(&message, context).await
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
            | Method::Unknown => Err(Error::Unimplemented),
        };
        answer.map(ResponseBody::response)
    }

    async fn builtin(
        &self,
        method: Method,
        request: Request<Body>,
        deadline: Instant,
    ) -> Result<Response<ResponseBody>, Error> {
        let request = if method.is_client_streaming() { ending(request, deadline) } else { request };
        let Ok(response) = self.builtin.clone().call(request).await;
        match Error::of(&response) {
            None => Ok(response.map(ResponseBody::Other)),
            Some(error) => Err(error),
        }
    }
}
