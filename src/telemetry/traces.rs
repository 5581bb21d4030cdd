//! Traces: a span for each served call, and in it one for each call to Cognito. The standard
//! environment variables configure their export by OTLP.
//!
//! Names and attributes follow OpenTelemetry's semantic conventions for RPC. No span contains
//! personal data.

mod otlp;

use std::{collections::HashMap, error::Error, time::Duration};

use http::HeaderMap;
use opentelemetry::{
    Context, KeyValue,
    propagation::TextMapPropagator as _,
    trace::{Status, TracerProvider as _},
};
use opentelemetry_sdk::{
    Resource,
    propagation::TraceContextPropagator,
    trace::{SdkTracer, SdkTracerProvider},
};
use tracing::{Span, field::Empty, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::background::BackgroundRuntime;

/// The exporter of spans. Dropping it sends those left, for at most two seconds.
#[derive(Debug)]
pub(super) struct Exporter {
    provider: SdkTracerProvider,
    protocol: &'static str,
    _runtime: BackgroundRuntime,
}

impl Exporter {
    /// Starts an exporter that is configured by OpenTelemetry's environment variables
    /// (`OTEL_EXPORTER_OTLP_…`, `OTEL_TRACES_SAMPLER`, `OTEL_BSP_…`, `OTEL_RESOURCE_ATTRIBUTES`,
    /// `OTEL_SERVICE_NAME`). Fails if one of them cannot be used.
    pub(super) fn start() -> Result<Self, Box<dyn Error>> {
        // A runtime of its own, because all others have ended when the last spans are sent.
        let (runtime, handle) = BackgroundRuntime::start("traces")?;
        let (exporter, protocol) = otlp::exporter(&handle)?;
        let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource());
        Ok(Self { provider: provider.build(), protocol, _runtime: runtime })
    }

    /// Logs how traces are exported. To be called once the log has started.
    pub(super) fn log(&self) {
        otlp::log(self.protocol);
    }

    pub(super) fn tracer(&self) -> SdkTracer {
        self.provider.tracer(env!("CARGO_PKG_NAME"))
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        // The exporter logs a failure itself.
        drop(self.provider.shutdown_with_timeout(SHUTDOWN_TIMEOUT));
    }
}

/// Returns the attributes of this process: those of the environment variables, else its name and
/// version.
fn resource() -> Resource {
    let own = [
        KeyValue::new("service.name", env!("CARGO_PKG_NAME")),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
    ];
    let detected = Resource::builder().build();
    // The SDK's default service name must not replace ours.
    let detected = detected.iter().filter(|(_, value)| !value.as_str().starts_with("unknown_service"));
    let detected = detected.map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
    Resource::builder_empty().with_attributes(own.into_iter().chain(detected)).build()
}

/// Begins the span of a served call, as a child of the caller's span (W3C Trace Context,
/// `traceparent`).
///
/// The caller is not authenticated yet, so its `tracestate` is not propagated. Without an exporter
/// the span is disabled and costs nothing.
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
        // Setting a parent fails only after the span was entered.
        let _ = span.set_parent(parent(headers));
    }
    span
}

/// Begins the span of a call to Cognito, as a child of the current span.
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

/// Sets the gRPC code of a served call, and the reason if it failed. The span is an error only if
/// the code says that the server failed (OpenTelemetry semantic conventions for gRPC, "gRPC
/// status").
pub fn end_server_span(span: &Span, code: &'static str, reason: Option<&'static str>) {
    span.record("rpc.response.status_code", code);
    if let Some(reason) = reason {
        set_error(span, reason, SERVICE_ERRORS.contains(&code));
    }
}

/// Sets the reason of a failure. `is_server_error` makes the span an error.
pub fn set_error(span: &Span, reason: &'static str, is_server_error: bool) {
    span.record("error.type", reason);
    if is_server_error {
        span.set_status(Status::error(reason));
    }
}

/// Returns the caller's span as parent, without its `tracestate`.
fn parent(headers: &HeaderMap) -> Context {
    let value = headers.get(TRACEPARENT).and_then(|value| value.to_str().ok());
    let carrier = value.map(|value| (TRACEPARENT.to_owned(), value.to_owned()));
    TraceContextPropagator::new().extract(&carrier.into_iter().collect::<HashMap<_, _>>())
}

/// The target of all spans, which keeps them out of the log.
pub(super) const TARGET: &str = "traces";
const SERVICE_ERRORS: [&str; 6] =
    ["Unknown", "DeadlineExceeded", "Unimplemented", "Internal", "Unavailable", "DataLoss"];
const TRACEPARENT: &str = "traceparent";
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use opentelemetry::trace::TraceContextExt as _;

    use super::*;

    #[test]
    fn a_caller_sets_the_parent_but_not_the_tracestate() {
        let mut headers = HeaderMap::new();
        let value = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        headers.insert(TRACEPARENT, value.parse().unwrap());
        headers.insert("tracestate", "vendor=anything".parse().unwrap());
        let context = parent(&headers);
        let span = context.span().span_context().clone();
        assert_eq!(span.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(span.trace_state().header(), "");
    }
}
