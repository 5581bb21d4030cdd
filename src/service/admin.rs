//! The RPCs of administrators: what is held of one user, and why a caller gets what it gets.

use std::time::SystemTime;

use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{Service, calls::Arrival};
use crate::{
    audit::{Erasure, Notes},
    auth::Credentials,
    error::Error,
    policy::{Mandate, Subject},
    query::{Invalid, Target},
    wire::{
        self,
        proto::{self, admin_service_server::AdminService},
    },
};

impl Service {
    /// Gives leave to look after the user that a request names, as `read` reads it, and returns what else is asked.
    async fn mandate<T, Q>(
        &self,
        request: Request<T>,
        read: impl FnOnce(&T) -> Result<(Target, Q), Invalid>,
    ) -> Result<(Mandate, Q, Notes), Error> {
        let (metadata, mut extensions, message) = request.into_parts();
        let Arrival { peer, notes, .. } = extensions.remove().ok_or(Error::Astray)?;
        let credentials = Credentials { metadata: &metadata, access_token: "", peer };
        let caller = self.authenticator.authenticate(credentials).await?;
        notes.caller(self.policy.name(&caller));
        let (target, asked) = read(&message)?;
        notes.target(&target);
        Ok((self.policy.mandate(&caller, target)?, asked, notes))
    }

    async fn inspect(
        &self,
        request: Request<proto::InspectUserRequest>,
    ) -> Result<proto::InspectUserResponse, Error> {
        let read = |message: &proto::InspectUserRequest| {
            Ok((wire::target(&message.sub, &message.user_pool_id)?, ()))
        };
        let (mandate, (), _) = self.mandate(request, read).await?;
        Ok(wire::holding(self.users.inspect(&mandate)))
    }

    async fn expire(
        &self,
        request: Request<proto::ExpireUserRequest>,
    ) -> Result<proto::ExpireUserResponse, Error> {
        let read =
            |message: &proto::ExpireUserRequest| Ok((wire::target(&message.sub, &message.user_pool_id)?, ()));
        let (mandate, (), _) = self.mandate(request, read).await?;
        Ok(wire::expired(self.users.expire(&mandate)))
    }

    async fn erase(
        &self,
        request: Request<proto::EraseUserRequest>,
    ) -> Result<proto::EraseUserResponse, Error> {
        let read =
            |message: &proto::EraseUserRequest| Ok((wire::target(&message.sub, &message.user_pool_id)?, ()));
        let (mandate, (), notes) = self.mandate(request, read).await?;
        let receipt_id = Uuid::now_v7().to_string();
        let Subject { pool, sub, .. } = mandate.subject();
        let erased = self.users.erase(&mandate);
        let verdicts = self.authenticator.forget(&pool.id, sub).await.map_err(|_| Error::Panicked)?;
        let receipt = wire::erased(&receipt_id, SystemTime::now(), erased, verdicts);
        notes.erasure(Erasure {
            receipt_id,
            entries: receipt.entries,
            absences: receipt.absences,
            verdicts: receipt.verdicts,
            fetches: receipt.fetches,
        });
        Ok(receipt)
    }

    async fn explain(
        &self,
        request: Request<proto::ExplainAccessRequest>,
    ) -> Result<proto::ExplainAccessResponse, Error> {
        let (mandate, query, _) = self.mandate(request, wire::access_query).await?;
        Ok(wire::explanation(self.policy.explain(&mandate, query)?))
    }
}

#[tonic::async_trait]
impl AdminService for Service {
    async fn inspect_user(
        &self,
        request: Request<proto::InspectUserRequest>,
    ) -> Result<Response<proto::InspectUserResponse>, Status> {
        Ok(Response::new(self.inspect(request).await?))
    }

    async fn expire_user(
        &self,
        request: Request<proto::ExpireUserRequest>,
    ) -> Result<Response<proto::ExpireUserResponse>, Status> {
        Ok(Response::new(self.expire(request).await?))
    }

    async fn erase_user(
        &self,
        request: Request<proto::EraseUserRequest>,
    ) -> Result<Response<proto::EraseUserResponse>, Status> {
        Ok(Response::new(self.erase(request).await?))
    }

    async fn explain_access(
        &self,
        request: Request<proto::ExplainAccessRequest>,
    ) -> Result<Response<proto::ExplainAccessResponse>, Status> {
        Ok(Response::new(self.explain(request).await?))
    }
}
