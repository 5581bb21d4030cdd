//! The RPCs of administrators: what is held of one user, and why a caller gets what it gets.

use std::time::SystemTime;

use uuid::Uuid;

use super::{Service, dispatch::CallContext};
use crate::{
    audit::Erasure,
    auth::Credentials,
    error::Error,
    policy::{AdminPermit, Subject},
    proto,
    query::{InvalidQuery, Target},
    users::Invalidation,
    wire::{self, Encoded},
};

impl Service {
    /// Gives leave to look after the user that a request names, as `read` reads it, and returns what else is asked.
    async fn admin_permit<T, Q>(
        &self,
        message: &T,
        context: CallContext<'_>,
        read: impl FnOnce(&T) -> Result<(Target, Q), InvalidQuery>,
    ) -> Result<(AdminPermit, Q), Error> {
        let CallContext { metadata, peer, audit, .. } = context;
        let credentials = Credentials { metadata, access_token: "", peer };
        let caller = self.authenticator.authenticate(credentials).await?;
        context.set_caller(self.policy.name(&caller));
        let (target, asked) = read(message)?;
        audit.set_target(&target);
        Ok((self.policy.admin_permit(&caller, target)?, asked))
    }

    pub(super) async fn inspect(
        &self,
        message: &proto::InspectUserRequest,
        context: CallContext<'_>,
    ) -> Result<Encoded, Error> {
        let read = |message: &proto::InspectUserRequest| {
            Ok((wire::target(&message.sub, &message.user_pool_id)?, ()))
        };
        let (permit, ()) = self.admin_permit(message, context, read).await?;
        Ok(Encoded::from_message(&wire::entry_info(self.users.inspect(&permit))))
    }

    pub(super) async fn expire(
        &self,
        message: &proto::ExpireUserRequest,
        context: CallContext<'_>,
    ) -> Result<Encoded, Error> {
        let read =
            |message: &proto::ExpireUserRequest| Ok((wire::target(&message.sub, &message.user_pool_id)?, ()));
        let (permit, ()) = self.admin_permit(message, context, read).await?;
        let Subject { pool, sub, .. } = permit.subject();
        Ok(Encoded::from_message(&wire::expired(
            self.users.invalidate(&pool.id, sub, Invalidation::Expire).entry,
        )))
    }

    pub(super) async fn erase(
        &self,
        message: &proto::EraseUserRequest,
        context: CallContext<'_>,
    ) -> Result<Encoded, Error> {
        let read =
            |message: &proto::EraseUserRequest| Ok((wire::target(&message.sub, &message.user_pool_id)?, ()));
        let (permit, ()) = self.admin_permit(message, context, read).await?;
        let receipt_id = Uuid::now_v7().to_string();
        let Subject { pool, sub, .. } = permit.subject();
        let erased = self.users.invalidate(&pool.id, sub, Invalidation::Erase);
        let verdicts = self.authenticator.remove_user(&pool.id, sub).await.map_err(|_| Error::Panicked)?;
        let receipt = wire::erased(&receipt_id, SystemTime::now(), erased, verdicts);
        context.audit.set_erasure(Erasure {
            receipt_id,
            entries: receipt.entries,
            absences: receipt.absences,
            verdicts: receipt.verdicts,
            fetches: receipt.fetches,
        });
        Ok(Encoded::from_message(&receipt))
    }

    pub(super) async fn explain(
        &self,
        message: &proto::ExplainAccessRequest,
        context: CallContext<'_>,
    ) -> Result<Encoded, Error> {
        let (permit, query) = self.admin_permit(message, context, wire::access_query).await?;
        Ok(Encoded::from_message(&wire::explanation(self.policy.explain(&permit, query)?)))
    }
}
