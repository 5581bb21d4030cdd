//! Finds the handler of a call, and observes the call around it.

use std::{pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response, request::Parts};
use tonic::{body::Body, codegen::Service as _, metadata::MetadataMap, service::Routes};
use tracing::Instrument as _;

use super::{
    CallContext, Service, deadline, decode,
    method::{Handler, Rpc},
    observe::{CallCounters, CallObserver},
    respond::ResponseBody,
};
use crate::{audit::Recorder, auth::Peer, config::LimitSettings, error::Error, telemetry::metrics::Metrics};

/// Answers every call of a connection; cheap to clone.
#[derive(Clone, Debug)]
pub struct Dispatcher(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    service: Service,
    builtin: Routes,
    /// The longest time that a call may take.
    timeout: Duration,
    max_message_bytes: usize,
    recorder: Recorder,
    metrics: Metrics,
    counters: CallCounters,
}

impl Dispatcher {
    /// Dispatches to the handlers of `service`, and to health and reflection, which are `builtin`.
    pub fn new(
        service: Service,
        builtin: Routes,
        limits: &LimitSettings,
        recorder: Recorder,
        metrics: &Metrics,
    ) -> Self {
        Self(Arc::new(Shared {
            service,
            builtin: builtin.prepare(),
            timeout: limits.request_timeout,
            max_message_bytes: limits.message_bytes(),
            recorder,
            metrics: metrics.clone(),
            counters: CallCounters::for_thread(metrics),
        }))
    }

    /// Returns a dispatcher for another serving thread, with its own recorder and counters.
    pub fn for_another_thread(&self) -> Self {
        Self(Arc::new(Shared {
            service: self.0.service.clone(),
            builtin: self.0.builtin.clone(),
            recorder: self.0.recorder.for_another_thread(),
            metrics: self.0.metrics.clone(),
            counters: CallCounters::for_thread(&self.0.metrics),
            ..*self.0
        }))
    }

    /// Answers a call within its deadline; a streamed response only has to start by then.
    ///
    /// Cancel safe: a dropped call is logged as cancelled, and a fetch that it started goes on.
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
            let Shared { timeout, recorder, counters, .. } = &*self.0;
            let call = CallObserver::start(request.uri().path(), request.headers(), *timeout, counters);
            let (record, span) = (call.open_record(recorder), call.span(request.headers()));
            let outcome = match call.method.handler {
                Handler::Ours(rpc) => {
                    // The other parts of the request are dropped here.
                    let (Parts { headers, .. }, mut body) = request.into_parts();
                    let metadata = MetadataMap::from_headers(headers);
                    let context =
                        CallContext { metadata: &metadata, peer: &peer, call: &call, audit: &record };
                    // Pinned here, so that the wrappers move a pointer rather than kilobytes.
                    let answer = pin!(self.0.answer(rpc, &mut body, context));
                    call.run(answer.instrument(span.clone())).await
                }
                Handler::Builtin => {
                    let request = request.map(|body| Body::new(deadline::end_body(body, call.deadline)));
                    call.run(Box::pin(self.0.answer_builtin(request))).await
                }
                Handler::Unknown => Err(Error::Unimplemented),
            };
            let outcome = call.record(record, outcome).await;
            call.finish(outcome, &span)
        }
    }
}

impl Shared {
    async fn answer<B>(
        &self,
        rpc: Rpc,
        body: &mut B,
        context: CallContext<'_>,
    ) -> Result<Response<ResponseBody>, Error>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin,
    {
        let (service, max_bytes) = (&self.service, self.max_message_bytes);
        macro_rules! answer {
            ($method:ident) => {
                async {
                    let message = decode::message(context.metadata, body, max_bytes).await?;
                    service.$method(&message, context).await
                }
            };
        }
        // All but GetUser, the most frequent call, are boxed, to keep its future small.
        let reply = match rpc {
            Rpc::GetUser => answer!(get).await,
            Rpc::BatchGetUsers => Box::pin(answer!(batch)).await,
            Rpc::InspectUser => Box::pin(answer!(inspect)).await,
            Rpc::ExpireUser => Box::pin(answer!(expire)).await,
            Rpc::EraseUser => Box::pin(answer!(erase)).await,
            Rpc::ExplainAccess => Box::pin(answer!(explain)).await,
        };
        reply.map(ResponseBody::response)
    }

    async fn answer_builtin(&self, request: Request<Body>) -> Result<Response<ResponseBody>, Error> {
        let Ok(response) = self.builtin.clone().call(request).await;
        Error::from_response(&response).map_or_else(|| Ok(response.map(ResponseBody::Other)), Err)
    }
}
