//! The RPCs: one straight line from a request to its answer, and what must happen for every outcome around it.

mod call;

use std::{sync::Arc, time::Duration};

use tonic::{Request, Response, Status};

use self::call::Call;
use crate::{
    auth::{Authenticator, Credentials},
    error::Error,
    freshness::Moment,
    policy::Policy,
    users::Users,
    wire::{
        self,
        proto::{self, admin_service_server::AdminService, user_service_server::UserService},
    },
};

/// The parts every call goes through; cheap to clone.
#[derive(Clone, Debug)]
pub struct Service {
    /// Who asks.
    pub authenticator: Arc<Authenticator>,
    /// What they may see.
    pub policy: Arc<Policy>,
    /// The users themselves.
    pub users: Users,
    /// How long a call may take; a caller's `grpc-timeout` may shorten it.
    pub request_timeout: Duration,
}

impl Service {
    async fn answer(&self, request: Request<proto::GetUserRequest>) -> Result<proto::GetUserResponse, Error> {
        let peer = request.remote_addr().map(|address| address.ip());
        let (metadata, _, message) = request.into_parts();
        let credentials = Credentials { metadata: &metadata, access_token: &message.access_token, peer };
        let caller = self.authenticator.authenticate(credentials).await?;
        let query = wire::query(&message, Moment::now())?;
        let permit = self.policy.permit(&caller, query)?;
        let found = self.users.find(&permit).await?;
        Ok(wire::reply(permit.disclose(found.user(), found.freshness())?))
    }
}

#[tonic::async_trait]
impl UserService for Service {
    async fn get_user(
        &self,
        request: Request<proto::GetUserRequest>,
    ) -> Result<Response<proto::GetUserResponse>, Status> {
        let call = Call::begin("userlookup.v1.UserService/GetUser", request.metadata());
        let outcome = call.bounded(self.request_timeout, self.answer(request)).await;
        call.end(outcome)
    }

    async fn batch_get_users(
        &self,
        request: Request<proto::BatchGetUsersRequest>,
    ) -> Result<Response<proto::BatchGetUsersResponse>, Status> {
        unbuilt("userlookup.v1.UserService/BatchGetUsers", &request)
    }
}

#[tonic::async_trait]
impl AdminService for Service {
    async fn inspect_user(
        &self,
        request: Request<proto::InspectUserRequest>,
    ) -> Result<Response<proto::InspectUserResponse>, Status> {
        unbuilt("userlookup.v1.AdminService/InspectUser", &request)
    }

    async fn expire_user(
        &self,
        request: Request<proto::ExpireUserRequest>,
    ) -> Result<Response<proto::ExpireUserResponse>, Status> {
        unbuilt("userlookup.v1.AdminService/ExpireUser", &request)
    }

    async fn erase_user(
        &self,
        request: Request<proto::EraseUserRequest>,
    ) -> Result<Response<proto::EraseUserResponse>, Status> {
        unbuilt("userlookup.v1.AdminService/EraseUser", &request)
    }

    async fn explain_access(
        &self,
        request: Request<proto::ExplainAccessRequest>,
    ) -> Result<Response<proto::ExplainAccessResponse>, Status> {
        unbuilt("userlookup.v1.AdminService/ExplainAccess", &request)
    }
}

/// Answers a call that the contract has and this version has not.
fn unbuilt<Q, A>(method: &'static str, request: &Request<Q>) -> Result<Response<A>, Status> {
    Call::begin(method, request.metadata()).end(Err(Error::Unimplemented))
}
