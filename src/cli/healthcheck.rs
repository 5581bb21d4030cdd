//! `healthcheck`: what an orchestrator runs where it cannot speak gRPC.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use clap::Args;

use super::{Exit, client, say, settings};
use crate::wire::proto::health::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

/// Which service to ask. Without an address it is the one that `serve` would start with the same settings.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// The service's URL [default: that of the `listen` setting]
    #[arg(long, value_name = "URL")]
    address: Option<String>,
    #[command(flatten)]
    settings: settings::Arguments,
}

/// Asks for the health of the server as a whole.
pub(super) async fn run(arguments: Arguments) -> Result<(), Exit> {
    let address = match arguments.address {
        Some(address) => address,
        None => {
            format!("http://{}", reachable(arguments.settings.load()?.sound().map_err(Exit::faulty)?.listen))
        }
    };
    let mut health = HealthClient::new(client::connect(&address).await?);
    let response =
        health.check(HealthCheckRequest::default()).await.map_err(|status| client::failed(&status))?;
    match response.into_inner().status() {
        ServingStatus::Serving => say("SERVING"),
        other => Err(Exit::not_serving(other.as_str_name())),
    }
}

/// A server that listens on every address is asked on this machine's own.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}
