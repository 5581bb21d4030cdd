//! What the client commands share: a connection, bounded in time, and what to say of a failed call.

use std::time::Duration;

use tonic::{
    Status,
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt as _;

use super::Exit;

/// Connects to a service at a URL such as `http://127.0.0.1:50051`, or `unix:PATH`; every call over it ends within 5 s.
pub(super) async fn connect(address: &str) -> Result<Channel, Exit> {
    let is_plain = ["http://", "unix:"].iter().any(|scheme| address.starts_with(scheme));
    let plain = is_plain.then(|| Endpoint::from_shared(address.to_owned()));
    // Nor https: this version speaks no TLS, and would send a token in clear to where none is expected.
    let Some(Ok(endpoint)) = plain else {
        return Err(Exit::misused(format_args!(
            "{address:?} is no URL such as {DEFAULT_ADDRESS}; there is no https yet"
        )));
    };
    let endpoint = endpoint.connect_timeout(TIMEOUT).timeout(TIMEOUT);
    endpoint.connect().await.map_err(|_| Exit::not_called(format_args!("nobody answers at {address}")))
}

/// Says why a call failed: code, reason and text, and which fields and attributes it is about.
pub(super) fn failed(status: &Status) -> Exit {
    let details = status.get_error_details();
    let info = details.error_info();
    let reason = info.map(|info| format!(" {}", info.reason)).unwrap_or_default();
    let mut message = format!("{:?}{reason}: {}", status.code(), status.message());
    let named = info.into_iter().flat_map(|info| &info.metadata);
    message.extend(named.map(|(name, value)| format!("\n  {name}: {value}")));
    let fields = details.bad_request().into_iter().flat_map(|bad| &bad.field_violations);
    message.extend(fields.map(|field| format!("\n  {}: {}", field.field, field.description)));
    message.extend(details.request_info().map(|request| format!("\n  request id: {}", request.request_id)));
    Exit::not_called(message)
}

/// Where `serve` listens unless told otherwise.
pub(super) const DEFAULT_ADDRESS: &str = "http://127.0.0.1:50051";

pub(super) const TIMEOUT: Duration = Duration::from_secs(5);
