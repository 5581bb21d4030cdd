//! The RPCs of administrators: one user's cache entry, and the explanation of a caller's access.

use std::time::SystemTime;

use uuid::Uuid;

use super::{CallContext, Reply, Service};
use crate::{
    auth::Credentials,
    error::Error,
    policy::{AdminPermit, Subject},
    proto::{
        EraseUserRequest, ExpireUserRequest, ExpireUserResponse, ExplainAccessRequest, InspectUserRequest,
    },
    query::{InvalidQuery, Target},
    users::{Invalidation, InvalidationFailure},
    wire::{self, Encoded},
};

impl Service {
    async fn admin_permit(
        &self,
        context: CallContext<'_>,
        target: Result<Target, InvalidQuery>,
    ) -> Result<AdminPermit, Error> {
        let CallContext { metadata, peer, audit, .. } = context;
        let credentials = Credentials { metadata, access_token: "", peer };
        let caller = self.authenticator.authenticate(credentials).await?;
        let rule = self.policy.rule(&caller);
        context.set_rule(&rule);
        let target = target?;
        audit.set_target(&target);
        Ok(rule?.admin_permit(target)?)
    }

    pub(super) async fn inspect(&self, message: &InspectUserRequest, context: CallContext<'_>) -> Reply {
        let permit = self.admin_permit(context, wire::target(&message.sub, &message.user_pool_id)).await?;
        Ok(Encoded::from_message(&wire::entry_info(self.users.inspect(&permit).await)))
    }

    pub(super) async fn expire(&self, message: &ExpireUserRequest, context: CallContext<'_>) -> Reply {
        let permit = self.admin_permit(context, wire::target(&message.sub, &message.user_pool_id)).await?;
        let Subject { pool, sub, .. } = permit.subject();
        let expired = self.users.invalidate(&pool.id, sub, Invalidation::Expire).await?;
        let (held, reached_all_replicas) = (expired.entry, expired.reached_all_replicas);
        Ok(Encoded::from_message(&ExpireUserResponse { held, reached_all_replicas }))
    }

    pub(super) async fn erase(&self, message: &EraseUserRequest, context: CallContext<'_>) -> Reply {
        let permit = self.admin_permit(context, wire::target(&message.sub, &message.user_pool_id)).await?;
        let Subject { pool, sub, .. } = permit.subject();
        let erased = self.users.invalidate(&pool.id, sub, Invalidation::Erase).await;
        let receipt = |erased| wire::erased(&Uuid::now_v7().to_string(), SystemTime::now(), erased);
        let receipt = match erased {
            Ok(erased) => receipt(erased),
            Err(failure) => {
                // The record says what was erased here, though the caller gets an error.
                if let InvalidationFailure::SharedCache { here, .. } = failure {
                    context.audit.set_erasure(&receipt(here));
                }
                return Err(failure.into());
            }
        };
        context.audit.set_erasure(&receipt);
        Ok(Encoded::from_message(&receipt))
    }

    pub(super) async fn explain(&self, message: &ExplainAccessRequest, context: CallContext<'_>) -> Reply {
        let permit = self.admin_permit(context, wire::target(&message.sub, &message.user_pool_id)).await?;
        let query = wire::access_query(message)?;
        Ok(Encoded::from_message(&wire::explanation(self.policy.explain(&permit, query)?)))
    }
}
