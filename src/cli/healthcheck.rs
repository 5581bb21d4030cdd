//! `healthcheck`: what an orchestrator runs where it cannot ask by itself.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::pin,
};

use clap::Args;
use http::{Request, StatusCode, header};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

use super::{CommandError, client, print_line, settings};
use crate::proto::health::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

/// Which service to ask. Without an address it is the one that `serve` would start with the same settings.
#[derive(Args, Debug)]
pub(super) struct Arguments {
    /// The URL of a gRPC port to ask by the health protocol [default: /readyz at the `admin_listen` setting]
    #[arg(long, value_name = "URL")]
    address: Option<String>,
    #[command(flatten)]
    tls: client::Tls,
    #[command(flatten)]
    settings: settings::Arguments,
}

/// Asks whether calls are welcome.
pub(super) async fn run(arguments: Arguments) -> Result<(), CommandError> {
    match arguments.address {
        Some(address) => by_grpc(&address, &arguments.tls).await,
        None => {
            let config = arguments.settings.load()?.validated().map_err(CommandError::config)?;
            // In the clear whatever the gRPC port speaks, so no certificate is needed to ask.
            let address = loopback_if_unspecified(config.admin_listen);
            let asked = timeout(client::TIMEOUT, by_http(address)).await;
            asked.unwrap_or_else(|_| {
                Err(CommandError::unreachable(format_args!("nobody answers at {address}")))
            })
        }
    }
}

async fn by_grpc(address: &str, tls: &client::Tls) -> Result<(), CommandError> {
    let mut health = HealthClient::new(client::connect(address, tls).await?);
    let response =
        health.check(HealthCheckRequest::default()).await.map_err(|status| client::call_failed(&status))?;
    match response.into_inner().status() {
        ServingStatus::Serving => print_line("SERVING"),
        other => Err(CommandError::not_serving(other.as_str_name())),
    }
}

async fn by_http(address: SocketAddr) -> Result<(), CommandError> {
    let nobody = || CommandError::unreachable(format_args!("nobody answers at {address}"));
    let stream = TcpStream::connect(address).await.map_err(|_| nobody())?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|_| nobody())?;
    let request = Request::get("/readyz").header(header::HOST, address.to_string());
    let request = request.body(String::new()).map_err(CommandError::failed)?;
    let mut asked = pin!(sender.send_request(request));
    let response = tokio::select! {
        response = asked.as_mut() => response,
        // The server closes behind its answer, which is there then.
        _ = connection => asked.await,
    };
    match response.map_err(|_| nobody())?.status() {
        StatusCode::OK => print_line("SERVING"),
        _ => Err(CommandError::not_serving("NOT_SERVING")),
    }
}

/// A server that listens on every address is asked on this machine's own.
fn loopback_if_unspecified(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}
