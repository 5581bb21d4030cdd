//! `healthcheck`: for orchestrators that run a command instead of an HTTP or gRPC probe.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use clap::Args;
use http::StatusCode;
use hyper_util::{client::legacy, rt::TokioExecutor};
use tokio::time::timeout;

use super::{CommandError, client, print_line, settings};
use crate::proto::health::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
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
            let config = arguments.settings.load()?.validated().map_err(CommandError::config)?;
            // The admin port never uses TLS, so this needs no certificate.
            let address = loopback_if_unspecified(config.admin_listen);
            let checked = timeout(client::TIMEOUT, by_http(address)).await;
            checked.unwrap_or_else(|_| Err(no_answer(address)))
        }
    }
}

async fn by_grpc(address: &str, tls: &client::Tls) -> Result<(), CommandError> {
    let mut health = HealthClient::new(client::connect(address, tls).await?);
    let response = health.check(HealthCheckRequest::default()).await.map_err(client::call_failed)?;
    match response.into_inner().status() {
        ServingStatus::Serving => print_line("SERVING"),
        other => Err(CommandError::not_serving(other.as_str_name())),
    }
}

async fn by_http(address: SocketAddr) -> Result<(), CommandError> {
    let url = format!("http://{address}/readyz").parse().map_err(CommandError::failed)?;
    let client = legacy::Client::builder(TokioExecutor::new()).build_http::<String>();
    match client.get(url).await.map_err(|_| no_answer(address))?.status() {
        StatusCode::OK => print_line("SERVING"),
        _ => Err(CommandError::not_serving("NOT_SERVING")),
    }
}

fn no_answer(address: SocketAddr) -> CommandError {
    CommandError::unreachable(format_args!("no answer from {address}"))
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
