//! Exports spans by OTLP, over gRPC or HTTP, as OpenTelemetry's environment variables say.

use std::{error::Error, time::Duration};

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::Full;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{
    Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _, WithTonicConfig as _,
};
use tokio::{runtime::Handle, time::timeout};
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tracing::{info, warn};

use crate::{
    config::environment_variable,
    outgoing::{self, Outgoing},
};

/// Makes an exporter whose connections run on `runtime`, and returns the name of its protocol. Fails
/// if a variable has a value that cannot be used.
pub(super) fn exporter(runtime: &Handle) -> Result<(SpanExporter, &'static str), Box<dyn Error>> {
    let outgoing = Outgoing::from_environment()
        .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))?;
    let endpoint = environment_variable(&ENDPOINTS).map(|(_, endpoint)| endpoint);
    let protocol = protocol(environment_variable(&PROTOCOLS), endpoint.as_deref())?;
    if protocol == Protocol::Grpc {
        let _context = runtime.enter();
        let channel = channel(&outgoing, endpoint.as_deref().unwrap_or(DEFAULT_ENDPOINT))?;
        return Ok((SpanExporter::builder().with_tonic().with_channel(channel).build()?, GRPC));
    }
    let client = OtlpClient { client: outgoing.http_client(), runtime: runtime.clone() };
    let builder = SpanExporter::builder().with_http().with_protocol(protocol);
    Ok((builder.with_http_client(client).build()?, HTTP))
}

/// Logs that traces are exported, and warns of a variable that has no effect.
pub(super) fn log(protocol: &'static str) {
    info!(protocol, "exporting traces");
    if let Some((variable, _)) = environment_variable(&CERTIFICATES) {
        warn!(variable, "this variable is not read: name the certificate by SSL_CERT_FILE");
    }
}

/// Returns the protocol that a variable names, else that of the endpoint's port: 4318 is the port of
/// OTLP over HTTP.
fn protocol(
    named: Option<(&'static str, String)>,
    endpoint: Option<&str>,
) -> Result<Protocol, Box<dyn Error>> {
    let port = endpoint.and_then(|endpoint| endpoint.parse::<Uri>().ok()?.port_u16());
    match named {
        None if port == Some(HTTP_PORT) => Ok(Protocol::HttpBinary),
        None => Ok(Protocol::Grpc),
        Some((variable, name)) => match name.trim() {
            GRPC => Ok(Protocol::Grpc),
            HTTP => Ok(Protocol::HttpBinary),
            other => Err(format!("{variable}: {other:?} is not supported; use {GRPC} or {HTTP}").into()),
        },
    }
}

fn channel(outgoing: &Outgoing, endpoint: &str) -> Result<Channel, Box<dyn Error>> {
    let is_insecure =
        environment_variable(&INSECURE).is_some_and(|(_, value)| value.eq_ignore_ascii_case("true"));
    let url = match (endpoint.contains("://"), is_insecure) {
        (true, _) => endpoint.to_owned(),
        (false, true) => format!("http://{endpoint}"),
        (false, false) => format!("https://{endpoint}"),
    };
    let mut endpoint = Endpoint::from_shared(url)?;
    if endpoint.uri().scheme_str() == Some("https") {
        endpoint = endpoint.tls_config(ClientTlsConfig::new().trust_anchors(outgoing.trust_anchors()))?;
    }
    Ok(endpoint.connect_with_connector_lazy(outgoing.tunnels()))
}

/// Sends on a Tokio runtime, because the thread of the exporter has none.
#[derive(Debug)]
struct OtlpClient {
    client: outgoing::HttpClient,
    runtime: Handle,
}

#[tonic::async_trait]
impl HttpClient for OtlpClient {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.client.clone();
        // The exporter does not limit the time of a client that it has not made.
        let sent =
            async move { timeout(SEND_TIMEOUT, client.send(request.map(Full::new), MAX_BODY_BYTES)).await };
        Ok(self.runtime.spawn(sent).await???)
    }
}

const PROTOCOLS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
const INSECURE: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_INSECURE", "OTEL_EXPORTER_OTLP_INSECURE"];
const CERTIFICATES: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE"];
const GRPC: &str = "grpc";
const HTTP: &str = "http/protobuf";
const DEFAULT_ENDPOINT: &str = "http://localhost:4317";
const HTTP_PORT: u16 = 4318;
const MAX_BODY_BYTES: usize = 1 << 20;
// The default of OTEL_EXPORTER_OTLP_TIMEOUT.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use tokio::{net::TcpListener, time::Instant};

    use super::*;

    /// The thread of the exporter would wait for ever, and a stop with it.
    #[tokio::test(start_paused = true)]
    async fn a_collector_that_does_not_answer_is_given_up() {
        let collector = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1/traces", collector.local_addr().unwrap());
        let client = OtlpClient { client: Outgoing::default().http_client(), runtime: Handle::current() };
        let begun = Instant::now();
        let sent = client.send_bytes(Request::post(url).body(Bytes::new()).unwrap());
        assert!(timeout(2 * SEND_TIMEOUT, sent).await.expect("it ends").is_err());
        assert!(begun.elapsed() >= SEND_TIMEOUT);
    }

    #[test]
    fn the_protocol_is_the_one_named_or_else_that_of_the_port() {
        let table = [
            (None, None, Some(Protocol::Grpc)),
            (None, Some("http://collector:4317"), Some(Protocol::Grpc)),
            (None, Some("http://collector:4318"), Some(Protocol::HttpBinary)),
            (None, Some("http://collector:4318/otlp"), Some(Protocol::HttpBinary)),
            (Some("grpc"), Some("http://collector:4318"), Some(Protocol::Grpc)),
            (Some("http/protobuf"), Some("http://collector:4317"), Some(Protocol::HttpBinary)),
            (Some("http/json"), Some("http://collector:4318"), None),
            (Some("GRPC"), None, None),
        ];
        for (named, endpoint, expected) in table {
            let named = named.map(|name| ("OTEL_EXPORTER_OTLP_PROTOCOL", name.to_owned()));
            let found = protocol(named, endpoint).map_err(|error| error.to_string());
            assert_eq!(found.clone().ok(), expected, "{endpoint:?} {found:?}");
            if let Err(error) = found {
                assert!(error.starts_with("OTEL_EXPORTER_OTLP_PROTOCOL: "), "{error}");
            }
        }
    }
}
