//! What both servers are asked.

use std::net::SocketAddr;

use cognito_lookup::{
    proto::{GetUserRequest, GetUserResponse, user_service_client::UserServiceClient},
    sandbox::standin::StandIn,
};
use prost::Message as _;
use tokio::runtime::Builder;
use tonic::{Request, transport::Channel};

/// A call of `GetUser`.
pub(crate) struct Question {
    pub(crate) name: &'static str,
    message: GetUserRequest,
    /// The metadata of that name.
    pub(crate) authorization: Option<String>,
}

impl Question {
    /// Returns every question that is measured.
    pub(crate) fn all(cognito: &StandIn) -> [Self; 2] {
        let token = cognito.access_token("ada").unwrap();
        let sub = cognito.person("ada").unwrap().sub;
        [
            Self {
                name: "by token",
                message: GetUserRequest::default(),
                authorization: Some(format!("Bearer {token}")),
            },
            Self {
                name: "by sub",
                message: GetUserRequest { sub, ..GetUserRequest::default() },
                authorization: None,
            },
        ]
    }

    /// Returns the body of the call: its only message, in its frame (gRPC over HTTP/2, "Length-Prefixed-Message").
    pub(crate) fn body(&self) -> Vec<u8> {
        let message = self.message.encode_to_vec();
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        [&[0], &length[..], &message].concat()
    }

    /// Asks once, with the client that is generated.
    pub(crate) fn ask(&self, address: SocketAddr) -> GetUserResponse {
        Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
            let mut request = Request::new(self.message.clone());
            if let Some(authorization) = &self.authorization {
                request.metadata_mut().insert("authorization", authorization.parse().unwrap());
            }
            UserServiceClient::new(channel).get_user(request).await.unwrap().into_inner()
        })
    }
}
