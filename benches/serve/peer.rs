//! The peers that the service is compared with, each a process of this program.

mod naive;
mod no_op;

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process, thread,
};

use cognito_lookup::proto::user_service_server::{UserService, UserServiceServer};
use serde::{Deserialize, Serialize};
use tokio::runtime::Builder;
use tonic::transport::{Server, server::TcpIncoming};

pub(crate) use self::{naive::Naive, no_op::NoOp};

/// A peer with its settings.
#[derive(Deserialize, Serialize)]
pub(crate) enum Peer {
    Naive(Naive),
    NoOp(NoOp),
}

impl Peer {
    /// Serves what `file` describes until standard input ends, and logs the address in the form of
    /// the service's log.
    pub(crate) fn serve(file: &Path) {
        let peer = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
        // Ends the peer even if the bench is killed.
        thread::spawn(|| {
            drop(io::copy(&mut io::stdin(), &mut io::sink()));
            process::exit(0);
        });
        Builder::new_multi_thread().enable_all().build().unwrap().block_on(async {
            match peer {
                Self::Naive(settings) => listen(Server::builder(), settings.service().await).await,
                Self::NoOp(settings) => listen(settings.server(), settings.service()).await,
            }
        });
    }
}

async fn listen(mut server: Server, service: impl UserService) {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    // As `Server::serve` does by default, which cannot report the port.
    let incoming = TcpIncoming::bind(address).unwrap().with_nodelay(Some(true));
    eprintln!(r#"{{"message":"listening","address":"{}"}}"#, incoming.local_addr().unwrap());
    eprintln!(r#"{{"message":"serving"}}"#);
    let service = UserServiceServer::new(service);
    server.add_service(service).serve_with_incoming(incoming).await.unwrap();
}
