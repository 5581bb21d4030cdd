//! The RPCs: one straight line from a request to its answer, and what must happen for every outcome around it.

mod admin;
mod batch;
mod observe;
mod dispatch;
mod inbound;
mod decode;
mod method;
mod respond;
mod request_id;

use std::sync::Arc;

use self::dispatch::CallContext;
pub use self::{
    dispatch::{CallLimits, Dispatcher},
    respond::ResponseBody,
};
use crate::{
    auth::{Authenticator, Credentials},
    error::Error,
    freshness::TimePoint,
    policy::Policy,
    proto,
    users::Users,
    wire::{self, Encoded},
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
}

impl Service {
    /// Returns when everything is there that answers need: the keys of every pool and the credentials for Cognito,
    /// however long that takes.
    pub async fn ready(&self) {
        tokio::join!(self.authenticator.ready(), self.users.ready());
    }

    async fn get(&self, message: &proto::GetUserRequest, context: CallContext<'_>) -> Result<Encoded, Error> {
        let CallContext { metadata, peer, deadline, audit, .. } = context;
        let credentials = Credentials { metadata, access_token: &message.access_token, peer };
        let caller = self.authenticator.authenticate(credentials).await?;
        context.set_caller(self.policy.name(&caller));
        audit.set_token_user(&caller);
        let query = wire::query(message, TimePoint::now)?;
        audit.set_query(&query);
        let permit = self.policy.permit(&caller, query)?;
        let found = self.users.find(&permit, deadline).await?;
        let disclosure = permit.disclose(found.user(), found.groups(), found.freshness())?;
        audit.set_release(disclosure.names(), disclosure.freshness());
        Ok(wire::reply(&disclosure))
    }
}
