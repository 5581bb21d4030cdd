//! What the client commands share: a connection, bounded in time, and what to say of a failed call.

use std::time::Duration;

use tonic::{
    Status,
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt as _;

use super::Exit;

/// Connects to a service at a URL such as `http://127.0.0.1:50051`; every call over it ends within 5 s.
pub(super) async fn connect(address: &str) -> Result<Channel, Exit> {
    let endpoint = Endpoint::from_shared(address.to_owned())
        .map_err(|_| Exit::misused(format_args!("{address:?} is no URL such as {DEFAULT_ADDRESS}")))?;
    let endpoint = endpoint.connect_timeout(TIMEOUT).timeout(TIMEOUT);
    endpoint.connect().await.map_err(|_| Exit::not_called(format_args!("nobody answers at {address}")))
}

/// Says why a call failed: code, reason and text.
pub(super) fn failed(status: &Status) -> Exit {
    let reason = status.get_details_error_info().map(|info| format!(" {}", info.reason)).unwrap_or_default();
    let request = status.get_details_request_info();
    let request = request.map(|info| format!(" (request {})", info.request_id)).unwrap_or_default();
    Exit::not_called(format_args!("{:?}{reason}: {}{request}", status.code(), status.message()))
}

/// Where `serve` listens unless told otherwise.
pub(super) const DEFAULT_ADDRESS: &str = "http://127.0.0.1:50051";

const TIMEOUT: Duration = Duration::from_secs(5);
