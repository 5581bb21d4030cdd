//! `BatchGetUsers`: replies with those of several users that are found by the deadline.

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::time::{Instant, timeout_at};

use super::{CallContext, Reply, Service, deadline};
use crate::{
    auth::Credentials,
    error::Error,
    freshness::TimePoint,
    policy::{CallerRule, Denied, Disclosure, Permit},
    proto::BatchGetUsersRequest,
    query::BatchQuery,
    wire,
};

impl Service {
    pub(super) async fn batch(&self, message: &BatchGetUsersRequest, context: CallContext<'_>) -> Reply {
        let CallContext { metadata, peer, call, audit } = context;
        let credentials = Credentials { metadata, access_token: "", peer };
        let caller = self.authenticator.authenticate(credentials).await?;
        let rule = self.policy.rule(&caller);
        context.set_rule(&rule);
        audit.set_token_user(&caller);
        let batch = wire::batch(message, TimePoint::now)?;
        audit.set_batch(&batch);
        let permits = permits(rule?, &batch)?;
        audit.set_denials(permits.iter().map(|permit| permit.as_ref().err().map(Error::reason)));
        let users = self.find_all(permits, deadline::of_fetches(call.deadline)).await;
        audit.set_user_outcomes(users.iter().map(|user| match user {
            Ok(user) => Ok((user.names(), user.freshness())),
            Err(error) => Err(error.reason()),
        }));
        let users = users.into_iter().map(|user| user.map_err(|error| error.into_proto(call.request_id())));
        let full = Error::BatchFull.into_proto(call.request_id());
        let (reply, omitted) = wire::batch_reply(&users.collect::<Vec<_>>(), &batch.order, &full);
        omitted.into_iter().for_each(|index| audit.set_refused(index, Error::BatchFull.reason()));
        Ok(reply)
    }

    /// Finds the permitted users, all at once; a user that is not found by `deadline` is an error.
    async fn find_all(
        &self,
        permits: Vec<Result<Permit, Error>>,
        deadline: Instant,
    ) -> Vec<Result<Disclosure, Error>> {
        let mut users = Vec::with_capacity(permits.len());
        let mut misses = FuturesUnordered::new();
        for (index, permit) in permits.into_iter().enumerate() {
            users.push(match permit.map(|permit| (self.users.find_cached(&permit), permit)) {
                Err(error) => Err(error),
                Ok((Some(found), permit)) => {
                    found.map_err(Error::from).and_then(|found| Ok(found.disclose(&permit)?))
                }
                Ok((None, permit)) => {
                    misses.push(async move { (index, self.find_missed(&permit, deadline).await) });
                    // Replaced below if the fetch ends in time.
                    Err(Error::DeadlineExceeded)
                }
            });
        }
        let fetches = async {
            while let Some((index, user)) = misses.next().await {
                if let Some(slot) = users.get_mut(index) {
                    *slot = user;
                }
            }
        };
        drop(timeout_at(deadline, fetches).await);
        users
    }

    async fn find_missed(&self, permit: &Permit, deadline: Instant) -> Result<Disclosure, Error> {
        Ok(self.users.find(permit, deadline).await?.disclose(permit)?)
    }
}

/// Decides for each user of a batch. A refusal that is not about one user fails the batch.
fn permits(rule: CallerRule<'_>, batch: &BatchQuery) -> Result<Vec<Result<Permit, Error>>, Denied> {
    let mut permits = Vec::with_capacity(batch.subs.len());
    for query in batch.queries() {
        permits.push(match rule.permit(query) {
            // The token names the one user that the caller may read, and this is another.
            Err(Denied::SubjectAmbiguous) if rule.requires_user_token() => {
                Err(Denied::SubjectNotAllowed.into())
            }
            Err(denied) if !denied.is_about_one_user() => return Err(denied),
            permit => permit.map_err(Error::from),
        });
    }
    Ok(permits)
}
