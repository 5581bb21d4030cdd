//! The RPCs of administrators: one user's cache entry and tokens, and the explanation of a caller's
//! access.

use std::time::SystemTime;

use futures_util::future::OptionFuture;
use uuid::Uuid;

use super::{CallContext, Reply, Service};
use crate::{
    auth::{Credentials, Revocation, RevokedTokens, TokenUser},
    changes::{Change, ChangeKind},
    error::Error,
    policy::{AdminPermit, Denied, Subject},
    proto::{
        EraseUserRequest, ExpireUserRequest, ExpireUserResponse, ExplainAccessRequest, InspectUserRequest,
        RevokeTokensRequest, RevokeTokensResponse,
    },
    query::{InvalidQuery, Target},
    users::{Invalidation, InvalidationFailure},
    wire::{self, Encoded},
};

impl Service {
    async fn admin_permit(
        &self,
        context: CallContext<'_>,
        target: Result<Target, impl Into<Error>>,
    ) -> Result<AdminPermit, Error> {
        let CallContext { metadata, peer, audit, .. } = context;
        let credentials = Credentials { metadata, access_token: "", peer };
        let caller = self.authenticator.authenticate(credentials).await?;
        let rule = self.policy.rule(&caller);
        context.set_rule(&caller, &rule);
        let target = target.map_err(Into::into)?;
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

    pub(super) async fn revoke(&self, message: &RevokeTokensRequest, context: CallContext<'_>) -> Reply {
        let now = SystemTime::now();
        let token = wire::token_to_revoke(message).map(|token| self.authenticator.token_user(token));
        let user = OptionFuture::from(token).await.transpose();
        let target = user.as_ref().map_err(|rejected| Error::from(*rejected));
        let target = target.and_then(|user| target_of(message, user.as_deref()));
        let permit = self.admin_permit(context, target).await?;
        let Subject { pool, sub, .. } = permit.subject();
        let (tokens, at) = match user? {
            None => (RevokedTokens::OfUser(sub.clone()), wire::issued_until(message, now)?),
            Some(user) => (family_of(&user)?, now),
        };
        let revocation = Revocation { pool: pool.id.clone(), tokens, at };
        context.audit.set_revocation(&revocation);
        // A revocation of a token family does not name the user, so it cannot announce the change.
        let names_user = revocation.tokens.user().is_some();
        let revoked = self.users.revoke(revocation).await?;
        if !names_user {
            let change = Change::seen(ChangeKind::SignedOut, SystemTime::now());
            self.users.announce(&pool.id, sub, change).await?;
        }
        let (refused_until, reached_all_replicas) =
            (Some(revoked.until.into()), revoked.reached_all_replicas);
        Ok(Encoded::from_message(&RevokeTokensResponse { refused_until, reached_all_replicas }))
    }

    pub(super) async fn explain(&self, message: &ExplainAccessRequest, context: CallContext<'_>) -> Reply {
        let permit = self.admin_permit(context, wire::target(&message.sub, &message.user_pool_id)).await?;
        let query = wire::access_query(message)?;
        Ok(Encoded::from_message(&wire::explanation(self.policy.explain(&permit, query)?)))
    }
}

/// Returns the user whose tokens are to be revoked: that of the token, if there is one.
fn target_of(message: &RevokeTokensRequest, user: Option<&TokenUser>) -> Result<Target, Error> {
    let Some(TokenUser { pool, sub, .. }) = user else {
        return Ok(wire::target(&message.sub, &message.user_pool_id)?);
    };
    let is_same = |named: &str, own: &str| named.is_empty() || named == own;
    if is_same(&message.sub, sub.as_str()) && is_same(&message.user_pool_id, pool.id.as_str()) {
        Ok(Target { sub: sub.clone(), pool: Some(pool.id.clone()) })
    } else {
        Err(Denied::SubjectAmbiguous.into())
    }
}

fn family_of(user: &TokenUser) -> Result<RevokedTokens, InvalidQuery> {
    let family = user.family.ok_or_else(|| InvalidQuery::field("access_token", NO_FAMILY));
    family.map(RevokedTokens::OfFamily)
}

const NO_FAMILY: &str =
    "has no origin_jti: enable token revocation for its app client, or revoke with issued_until";
