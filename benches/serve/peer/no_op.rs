//! tonic as its first example uses it, with the same contract and one fixed reply: the cost of the
//! framework alone.

use std::{fs, path::PathBuf};

use cognito_lookup::proto::{
    BatchGetUsersRequest, BatchGetUsersResponse, GetUserRequest, GetUserResponse, WatchUsersRequest,
    WatchUsersResponse, user_service_server::UserService,
};
use prost::Message as _;
use serde::{Deserialize, Serialize};
use tonic::{
    Request, Response, Status,
    codegen::BoxStream,
    transport::{Certificate, Identity, Server, ServerTlsConfig},
};

#[derive(Deserialize, Serialize)]
pub(crate) struct NoOp {
    /// The encoded `GetUserResponse`.
    pub(crate) reply: Vec<u8>,
    /// The folder of the certificates, if clients must present one.
    pub(crate) certificates: Option<PathBuf>,
}

impl NoOp {
    pub(super) fn server(&self) -> Server {
        let Some(folder) = &self.certificates else { return Server::builder() };
        let [certificate, key, authority] =
            ["server.pem", "server.key", "authority.pem"].map(|name| fs::read(folder.join(name)).unwrap());
        let tls = ServerTlsConfig::new()
            .identity(Identity::from_pem(certificate, key))
            .client_ca_root(Certificate::from_pem(authority));
        Server::builder().tls_config(tls).unwrap()
    }

    pub(super) fn service(&self) -> impl UserService {
        Fixed(GetUserResponse::decode(self.reply.as_slice()).unwrap())
    }
}

struct Fixed(GetUserResponse);

#[tonic::async_trait]
impl UserService for Fixed {
    async fn get_user(&self, _: Request<GetUserRequest>) -> Result<Response<GetUserResponse>, Status> {
        Ok(Response::new(self.0.clone()))
    }

    async fn batch_get_users(
        &self,
        _: Request<BatchGetUsersRequest>,
    ) -> Result<Response<BatchGetUsersResponse>, Status> {
        Err(Status::unimplemented("not part of the bench"))
    }

    type WatchUsersStream = BoxStream<WatchUsersResponse>;

    async fn watch_users(
        &self,
        _: Request<WatchUsersRequest>,
    ) -> Result<Response<Self::WatchUsersStream>, Status> {
        Err(Status::unimplemented("not part of the bench"))
    }
}
