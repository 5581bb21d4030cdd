//! Finds the handler of a call, and observes the call around it.

use std::{
    future::ready,
    pin::pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::Either;
use http::{Request, Response, request::Parts};
use http_body_util::BodyExt as _;
use tonic::{body::Body, codegen::Service as _, metadata::MetadataMap, service::Routes};
use tracing::Instrument as _;

use super::{
    CallContext, Service,
    admit::admit,
    closing::Closing,
    deadline, decode,
    live::{Live, LiveOfThread},
    method::{Handler, Rpc},
    observe::CallObserver,
    respond::ResponseBody,
    watch_context::WatchContext,
};
use crate::{
    audit::Recorder,
    auth::Peer,
    config::LimitSettings,
    error::Error,
    memory::{Charge, ConnectionMemory},
    telemetry::metrics::Metrics,
};

/// Answers every call of a connection; cheap to clone.
#[derive(Clone, Debug)]
pub struct Dispatcher(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    live: LiveOfThread,
    builtin: Routes,
    /// The longest time that a call may take.
    timeout: Duration,
    max_message_bytes: usize,
    recorder: Recorder,
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
            live: LiveOfThread::new(service, metrics),
            builtin: builtin.prepare(),
            timeout: limits.request_timeout,
            max_message_bytes: limits.message_bytes(),
            recorder,
        }))
    }

    /// Returns a dispatcher for another serving thread, with its own recorder and counters.
    pub fn for_another_thread(&self) -> Self {
        Self(Arc::new(Shared {
            live: self.0.live.for_another_thread(),
            builtin: self.0.builtin.clone(),
            recorder: self.0.recorder.for_another_thread(),
            ..*self.0
        }))
    }

    /// Uses another service, on all threads, for the calls that begin from now on.
    pub fn replace_service(&self, service: &Service) {
        self.0.live.replace(service);
    }

    /// Answers a call within its deadline; a streamed response only has to start by then.
    ///
    /// What is not gRPC is refused by its HTTP status, and what exceeds the memory of the connection
    /// with `RESOURCE_EXHAUSTED`, both at once: before the first poll, a request would count for
    /// nothing.
    ///
    /// Cancel safe: a dropped call is logged as cancelled, and a fetch that it started goes on.
    pub fn dispatch<B>(
        self,
        request: Request<B>,
        peer: Peer,
        memory: ConnectionMemory,
    ) -> impl Future<Output = Response<ResponseBody>> + Send + Unpin
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send,
    {
        let mut charge = match admit(&request, &memory) {
            Ok(charge) => charge,
            Err(refused) => return Either::Left(ready(*refused)),
        };
        // Boxed, so that hyper and the runtime move a pointer rather than kilobytes, and a refusal
        // takes little.
        Either::Right(Box::pin(async move {
            let Shared { timeout, recorder, live, .. } = &*self.0;
            let live = live.get();
            let Live { service, counters } = &*live;
            let call = CallObserver::start(request.uri().path(), request.headers(), *timeout, counters);
            let record = call.open_record(recorder).of_peer(peer.address).of_pools(service.policy.pools());
            let span = call.span(request.headers());
            let outcome = match call.method.handler {
                Handler::Ours(rpc) => {
                    // The other parts of the request are dropped here.
                    let (Parts { headers, .. }, mut body) = request.into_parts();
                    let metadata = MetadataMap::from_headers(headers);
                    let (metadata, peer, memory) = (&metadata, &peer, &memory);
                    let context = CallContext { metadata, peer, call: &call, audit: &record, memory };
                    // Pinned here, so that the wrappers move a pointer rather than kilobytes.
                    let answer = pin!(self.0.answer(service, rpc, &mut body, &mut charge, context));
                    call.run(answer.instrument(span.clone())).await
                }
                Handler::Builtin => {
                    call.run(Box::pin(self.0.answer_builtin(request, &call, charge, memory))).await
                }
                Handler::Watch => {
                    let context = self.0.watch_context(service, &request, peer, &call, &memory);
                    let answer = self.0.answer_watch(request, &call, charge, memory, &context);
                    let outcome = call.run(Box::pin(answer).instrument(span.clone())).await;
                    let opening = context.opening();
                    opening.describe(&record);
                    opening.rule.as_ref().map(|rule| call.caller.get_or_init(|| Arc::clone(rule)));
                    drop(opening);
                    outcome
                }
                Handler::Unknown => Err(Error::Unimplemented),
            };
            let outcome = call.record(record, outcome).await;
            call.finish(outcome, &span)
        }))
    }
}

impl Shared {
    async fn answer<B>(
        &self,
        service: &Service,
        rpc: Rpc,
        body: &mut B,
        charge: &mut Charge,
        context: CallContext<'_>,
    ) -> Result<Response<ResponseBody>, Error>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin,
    {
        let max_bytes = self.max_message_bytes;
        macro_rules! answer {
            ($method:ident) => {
                async {
                    let message = decode::message(context.metadata, body, max_bytes, charge).await?;
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
            Rpc::RevokeTokens => Box::pin(answer!(revoke)).await,
            Rpc::ExplainAccess => Box::pin(answer!(explain)).await,
        };
        Ok(ResponseBody::response(reply?, context.memory)?)
    }

    fn watch_context<B>(
        &self,
        service: &Service,
        request: &Request<B>,
        peer: Peer,
        call: &CallObserver<'_>,
        memory: &ConnectionMemory,
    ) -> Arc<WatchContext> {
        Arc::new(WatchContext {
            service: service.clone(),
            peer,
            request_id: call.request_id().into(),
            method: call.method.name,
            deadline: call.deadline,
            recorder: self.recorder.clone(),
            memory: memory.clone(),
            closing: request.extensions().get::<Closing>().cloned().unwrap_or_default(),
            opening: Mutex::default(),
        })
    }

    /// Answers as a built-in service does. A message that is not read is no reason to cut the connection:
    /// the stream itself ends when too much is pending.
    async fn answer_watch<B>(
        &self,
        mut request: Request<B>,
        call: &CallObserver<'_>,
        charge: Charge,
        memory: ConnectionMemory,
        context: &Arc<WatchContext>,
    ) -> Result<Response<ResponseBody>, Error>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send,
    {
        request.extensions_mut().insert(Arc::clone(context));
        let answered = self.call_builtin(request, call, &memory).await;
        if let Some(error) = context.opening().error.take() {
            return Err(error);
        }
        Ok(answered?.map(|body| {
            ResponseBody::Other(Body::new(body.map_frame(move |frame| {
                let _until_the_end = &charge;
                frame
            })))
        }))
    }

    async fn answer_builtin<B>(
        &self,
        request: Request<B>,
        call: &CallObserver<'_>,
        mut charge: Charge,
        memory: ConnectionMemory,
    ) -> Result<Response<ResponseBody>, Error>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send,
    {
        if call.method.is_streamed() {
            charge.grow(STREAM_BYTES)?;
        }
        let response = self.call_builtin(request, call, &memory).await?;
        Ok(response.map(|body| {
            ResponseBody::Other(Body::new(body.map_frame(move |frame| {
                let _until_the_end = &charge;
                frame.map_data(|bytes| memory.part(bytes))
            })))
        }))
    }

    async fn call_builtin<B>(
        &self,
        request: Request<B>,
        call: &CallObserver<'_>,
        memory: &ConnectionMemory,
    ) -> Result<Response<Body>, Error>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>> + Send,
    {
        let of_message = memory.charge(0)?;
        let mut request = request.map(|body| {
            Body::new(deadline::end_body(body, call.deadline, of_message, self.max_message_bytes))
        });
        let is_supported = decode::hide_unsupported_encoding(request.headers_mut());
        let Ok(response) = self.builtin.clone().call(request).await;
        match Error::from_response(&response) {
            Some(Error::Unreadable) if !is_supported => Err(Error::Compressed),
            Some(error) => Err(error),
            None => Ok(response),
        }
    }
}

// A client that leaves the responses of a stream unread can fill its window and send trailers.
const STREAM_BYTES: usize = 256 * 1024;
