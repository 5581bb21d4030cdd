//! `healthcheck`: for orchestrators that run a command instead of an HTTP or gRPC probe.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use clap::Args;

use super::{CommandError, client, print_line, probe, settings};
use crate::{
    config::Config,
    proto::health::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient},
};

/// The service to check; by default the one that `serve` would start with the same settings.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// The URL of a gRPC port, to check its health service [default: /readyz at `admin_listen`]
    #[arg(long, value_name = "URL")]
    address: Option<String>,
    #[command(flatten)]
    tls: client::Tls,
    #[command(flatten)]
    settings: settings::Arguments,
}

/// Prints `SERVING`, or fails.
pub(super) async fn run(arguments: Arguments) -> Result<(), CommandError> {
    match arguments.address {
        Some(address) => by_grpc(&address, &arguments.tls).await,
        None => {
            let config =
                arguments.settings.load().and_then(Config::validated).map_err(CommandError::config)?;
            // The admin port never uses TLS, so this needs no certificate.
            by_http(&format!("http://{}", loopback_if_unspecified(config.admin_listen))).await
        }
    }
}

async fn by_grpc(address: &str, tls: &client::Tls) -> Result<(), CommandError> {
    let mut health = HealthClient::new(client::connect(address, tls).await?);
    match health.check(HealthCheckRequest::default()).await.map(|response| response.into_inner().status()) {
        Ok(ServingStatus::Serving) => print_line("SERVING"),
        Ok(other) => Err(CommandError::not_serving(other.as_str_name())),
        Err(status) => Err(client::call_failed(address, &status).await),
    }
}

async fn by_http(address: &str) -> Result<(), CommandError> {
    let answer = probe::get(address, "/readyz", client::TIMEOUT).await;
    let answer = answer.map_err(|error| CommandError::unreachable(probe::unreachable(address, &error)))?;
    match answer.split(' ').nth(1) {
        Some("200") => print_line("SERVING"),
        Some("503") => Err(CommandError::not_serving("NOT_SERVING")),
        _ => {
            let first = answer.lines().next().filter(|line| line.starts_with("HTTP/1."));
            let found = first.unwrap_or("no HTTP/1.1 response");
            Err(CommandError::unreachable(format_args!(
                "{address} is not the admin port of the service (`admin_listen`): {found} to GET /readyz"
            )))
        }
    }
}

/// Returns the loopback address for a server that listens on every address.
fn loopback_if_unspecified(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}
