//! The peer: what one gets from tonic by following its first example, with the same contract and one reply.

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process, thread,
};

use cognito_lookup::proto::{
    BatchGetUsersRequest, BatchGetUsersResponse, GetUserRequest, GetUserResponse,
    user_service_server::{UserService, UserServiceServer},
};
use prost::Message as _;
use tokio::runtime::Builder;
use tonic::{
    Request, Response, Status,
    transport::{Certificate, Identity, Server, ServerTlsConfig, server::TcpIncoming},
};

/// Serves the reply in the file until standard input ends, and tells where in the words of our own log. With a folder of
/// certificates, only to who has one.
pub(crate) fn serve(reply: &Path, certificates: Option<&Path>) {
    let reply = GetUserResponse::decode(fs::read(reply).unwrap().as_slice()).unwrap();
    // Nobody else ends it where the bench itself is killed.
    thread::spawn(|| {
        drop(io::copy(&mut io::stdin(), &mut io::sink()));
        process::exit(0);
    });
    Builder::new_multi_thread().enable_all().build().unwrap().block_on(async {
        let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        // As `serve` sets it by default, which does not tell the port.
        let incoming = TcpIncoming::bind(anywhere).unwrap().with_nodelay(Some(true));
        eprintln!(r#"{{"message":"listening","address":"{}"}}"#, incoming.local_addr().unwrap());
        eprintln!(r#"{{"message":"serving"}}"#);
        let service = UserServiceServer::new(Stock(reply));
        let mut server = certificates.map_or_else(Server::builder, encrypted);
        server.add_service(service).serve_with_incoming(incoming).await.unwrap();
    });
}

fn encrypted(certificates: &Path) -> Server {
    let [certificate, key, authority] =
        ["server.pem", "server.key", "authority.pem"].map(|name| fs::read(certificates.join(name)).unwrap());
    let identity = Identity::from_pem(certificate, key);
    let tls = ServerTlsConfig::new().identity(identity).client_ca_root(Certificate::from_pem(authority));
    Server::builder().tls_config(tls).unwrap()
}

struct Stock(GetUserResponse);

#[tonic::async_trait]
impl UserService for Stock {
    async fn get_user(&self, _: Request<GetUserRequest>) -> Result<Response<GetUserResponse>, Status> {
        Ok(Response::new(self.0.clone()))
    }

    async fn batch_get_users(
        &self,
        _: Request<BatchGetUsersRequest>,
    ) -> Result<Response<BatchGetUsersResponse>, Status> {
        Err(Status::unimplemented("nobody asks"))
    }
}
