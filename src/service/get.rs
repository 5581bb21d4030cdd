//! `GetUser`.

use super::{CallContext, Reply, Service};
use crate::{auth::Credentials, clock::TimePoint, proto::GetUserRequest, wire};

impl Service {
    pub(super) async fn get(&self, message: &GetUserRequest, context: CallContext<'_>) -> Reply {
        let CallContext { metadata, peer, call, audit, .. } = context;
        let credentials = Credentials { metadata, access_token: &message.access_token, peer };
        let caller = self.authenticator.authenticate(credentials).await?;
        let rule = self.policy.rule(&caller);
        context.set_rule(&caller, &rule);
        audit.set_token_user(&caller);
        let query = wire::query(message, TimePoint::now)?;
        audit.set_query(&query);
        let rule = rule?;
        let permit = rule.permit(query)?;
        rule.take_answers(1)?;
        self.check_online(credentials, rule.caller_limit(), call.deadline).await?;
        let found = self.users.find(&permit, call.deadline).await?;
        let disclosure = found.disclose(&permit)?;
        call.set_holds_until(permit.freshness().holds_until(disclosure.freshness().began.boot));
        call.set_users(1);
        audit.set_release(disclosure.names(), disclosure.freshness());
        Ok(wire::reply(&disclosure))
    }
}
