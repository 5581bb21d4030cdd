//! The RPCs of administrators: what is held of one user, and why a caller gets what it gets.

use tonic::{Request, Response, Status};

use super::{Service, calls::Arrival};
use crate::{
    auth::Credentials,
    error::Error,
    wire::{
        self,
        proto::{self, admin_service_server::AdminService},
    },
};

impl Service {
    async fn explain(
        &self,
        request: Request<proto::ExplainAccessRequest>,
    ) -> Result<proto::ExplainAccessResponse, Error> {
        let (metadata, mut extensions, message) = request.into_parts();
        let Arrival { peer, notes, .. } = extensions.remove().ok_or(Error::Astray)?;
        let credentials = Credentials { metadata: &metadata, access_token: "", peer };
        let caller = self.authenticator.authenticate(credentials).await?;
        notes.caller(&caller, self.policy.name(&caller));
        let (target, query) = wire::access_query(&message)?;
        notes.target(&target);
        let mandate = self.policy.mandate(&caller, target)?;
        Ok(wire::explanation(self.policy.explain(&mandate, query)?))
    }
}

#[tonic::async_trait]
impl AdminService for Service {
    async fn inspect_user(
        &self,
        _: Request<proto::InspectUserRequest>,
    ) -> Result<Response<proto::InspectUserResponse>, Status> {
        Err(Error::Unimplemented.into())
    }

    async fn expire_user(
        &self,
        _: Request<proto::ExpireUserRequest>,
    ) -> Result<Response<proto::ExpireUserResponse>, Status> {
        Err(Error::Unimplemented.into())
    }

    async fn erase_user(
        &self,
        _: Request<proto::EraseUserRequest>,
    ) -> Result<Response<proto::EraseUserResponse>, Status> {
        Err(Error::Unimplemented.into())
    }

    async fn explain_access(
        &self,
        request: Request<proto::ExplainAccessRequest>,
    ) -> Result<Response<proto::ExplainAccessResponse>, Status> {
        Ok(Response::new(self.explain(request).await?))
    }
}
