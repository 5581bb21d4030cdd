//! Connections over TLS to `localhost`.

use std::{io, net::SocketAddr, sync::Arc};

use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::transport::{Channel, Endpoint, Error};
use tower::service_fn;

pub(crate) async fn connect(address: SocketAddr, config: ClientConfig) -> Result<Channel, Error> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    let stream = move |_| {
        let config = config.clone();
        async move { handshake(address, config).await.map(TokioIo::new) }
    };
    endpoint.connect_with_connector(service_fn(stream)).await
}

pub(crate) async fn handshake(address: SocketAddr, config: ClientConfig) -> io::Result<TlsStream<TcpStream>> {
    handshake_over(TcpStream::connect(address).await?, config).await
}

pub(crate) async fn handshake_over(
    stream: TcpStream,
    config: ClientConfig,
) -> io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}
