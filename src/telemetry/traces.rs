//! Traces, sent by OTLP over gRPC where the standard variables ask for them: of each call that is served, and in it of
//! each call to Cognito.
//!
//! The names are those of OpenTelemetry's conventions for RPC; nothing personal is among them.

use std::{error::Error as _, io, time::Duration};

use http::{HeaderMap, HeaderName};
use opentelemetry::{
    KeyValue,
    propagation::{Extractor, TextMapPropagator as _},
    trace::{Status, TracerProvider as _},
};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter};
use opentelemetry_sdk::{
    Resource,
    propagation::TraceContextPropagator,
    trace::{SdkTracer, SdkTracerProvider},
};
use thiserror::Error;
use tokio::runtime::{Builder, Runtime};
use tracing::{Span, field::Empty, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// Sends spans; dropped, it sends what is left, two seconds at most.
#[derive(Debug)]
pub(super) struct Exporter {
    provider: SdkTracerProvider,
    runtime: Option<Runtime>,
}

impl Exporter {
    /// Begins to send, as the variables of OpenTelemetry say (`OTEL_EXPORTER_OTLP_…`, `OTEL_TRACES_SAMPLER`,
    /// `OTEL_BSP_…`, `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_SERVICE_NAME`). Fails if an address is none.
    pub(super) fn start() -> Result<Self, Error> {
        // One of its own: the others have ended when the last spans are sent.
        let runtime =
            Builder::new_multi_thread().worker_threads(1).thread_name("traces").enable_all().build()?;
        let exporter = {
            let _there = runtime.enter();
            SpanExporter::builder().with_tonic().build()?
        };
        let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource());
        Ok(Self { provider: provider.build(), runtime: Some(runtime) })
    }

    pub(super) fn tracer(&self) -> SdkTracer {
        self.provider.tracer(env!("CARGO_PKG_NAME"))
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        // Whom nobody answers can send no more, and says so by itself.
        drop(self.provider.shutdown_with_timeout(SHUTDOWN_TIMEOUT));
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Why no spans can be sent.
#[derive(Debug, Error)]
pub(super) enum Error {
    #[error("the exporter cannot be built: {0}{cause}", cause = .0.source().map(|cause| format!(": {cause}")).unwrap_or_default())]
    Build(#[from] ExporterBuildError),
    #[error("the system refused a thread: {0}")]
    Io(#[from] io::Error),
}

/// What the variables say of this process, and its name and version where they do not.
fn resource() -> Resource {
    let own = [
        KeyValue::new("service.name", env!("CARGO_PKG_NAME")),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
    ];
    let told = Resource::builder().build();
    // What the SDK says where nobody did.
    let told = told.iter().filter(|(_, value)| !value.as_str().starts_with("unknown_service"));
    let told = told.map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
    Resource::builder_empty().with_attributes(own).with_attributes(told).build()
}

/// Begins the span of a call that is served, within the trace that its caller tells of (W3C Trace Context, `traceparent`).
///
/// The caller is not known yet, so it may be anybody: what a `tracestate` says is not passed on. It costs nothing where no
/// spans are sent.
pub fn server_span(method: &'static str, request_id: &str, headers: &HeaderMap) -> Span {
    let span = info_span!(
        target: TARGET,
        "served",
        otel.name = method,
        otel.kind = "server",
        rpc.system.name = "grpc",
        rpc.method = method,
        request.id = request_id,
        rpc.response.status_code = Empty,
        error.type = Empty,
    );
    if !span.is_disabled() {
        let caller = TraceContextPropagator::new().extract(&Headers(headers));
        // It was not entered yet, so it takes a parent.
        let _ = span.set_parent(caller);
    }
    span
}

/// Begins the span of a call to Cognito, within that of the call that caused it.
pub fn cognito_span(operation: &'static str, region: &str) -> Span {
    info_span!(
        target: TARGET,
        "asked",
        otel.name = %format_args!("CognitoIdentityProvider/{operation}"),
        otel.kind = "client",
        rpc.system.name = "aws-api",
        rpc.method = %format_args!("CognitoIdentityProvider/{operation}"),
        cloud.region = region,
        error.type = Empty,
    )
}

/// Notes how a served call ended: its code, and the reason if it failed. Only what is the service's fault is an error of
/// the span (semantic conventions for gRPC, "gRPC status").
pub fn end_server_span(span: &Span, code: &'static str, reason: Option<&'static str>) {
    if span.is_disabled() {
        return;
    }
    span.record("rpc.response.status_code", code);
    if let Some(reason) = reason {
        set_error(span, reason, SERVICE_ERRORS.contains(&code));
    }
}

/// Notes that what a span is about failed for this reason, and whether that is a fault.
pub fn set_error(span: &Span, reason: &'static str, is_server_error: bool) {
    span.record("error.type", reason);
    if is_server_error {
        span.set_status(Status::error(reason));
    }
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).filter(|_| key != TRACESTATE)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

/// By which the spans are told from the log, which has no use for them.
pub(super) const TARGET: &str = "traces";
const SERVICE_ERRORS: [&str; 6] =
    ["Unknown", "DeadlineExceeded", "Unimplemented", "Internal", "Unavailable", "DataLoss"];
const TRACESTATE: &str = "tracestate";
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use opentelemetry::trace::TraceContextExt as _;

    use super::*;

    #[test]
    fn a_caller_chooses_the_trace_and_nothing_else_of_it() {
        let mut headers = HeaderMap::new();
        let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        headers.insert("traceparent", parent.parse().unwrap());
        headers.insert(TRACESTATE, "vendor=anything".parse().unwrap());
        let context = TraceContextPropagator::new().extract(&Headers(&headers));
        let span = context.span().span_context().clone();
        assert_eq!(span.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(span.trace_state().header(), "");
    }
}
