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

use super::{Exit, client, say, settings};
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
pub(super) async fn run(arguments: Arguments) -> Result<(), Exit> {
    match arguments.address {
        Some(address) => by_grpc(&address, &arguments.tls).await,
        None => {
            let config = arguments.settings.load()?.sound().map_err(Exit::faulty)?;
            // In the clear whatever the gRPC port speaks, so no certificate is needed to ask.
            let address = reachable(config.admin_listen);
            let asked = timeout(client::TIMEOUT, by_http(address)).await;
            asked.unwrap_or_else(|_| Err(Exit::not_called(format_args!("nobody answers at {address}"))))
        }
    }
}

async fn by_grpc(address: &str, tls: &client::Tls) -> Result<(), Exit> {
    let mut health = HealthClient::new(client::connect(address, tls).await?);
    let response =
        health.check(HealthCheckRequest::default()).await.map_err(|status| client::failed(&status))?;
    match response.into_inner().status() {
        ServingStatus::Serving => say("SERVING"),
        other => Err(Exit::not_serving(other.as_str_name())),
    }
}

async fn by_http(address: SocketAddr) -> Result<(), Exit> {
    let nobody = || Exit::not_called(format_args!("nobody answers at {address}"));
    let stream = TcpStream::connect(address).await.map_err(|_| nobody())?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|_| nobody())?;
    let request = Request::get("/readyz").header(header::HOST, address.to_string());
    let request = request.body(String::new()).map_err(Exit::failed)?;
    let mut asked = pin!(sender.send_request(request));
    let response = tokio::select! {
        response = asked.as_mut() => response,
        // The server closes behind its answer, which is there then.
        _ = connection => asked.await,
    };
    match response.map_err(|_| nobody())?.status() {
        StatusCode::OK => say("SERVING"),
        _ => Err(Exit::not_serving("NOT_SERVING")),
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
