//! `BatchGetUsers`: the same straight line for each of several users at once, and what has come by the deadline.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, timeout_at};

use super::{Service, dispatch::CallContext};
use crate::{
    auth::Credentials,
    error::Error,
    freshness::TimePoint,
    policy::{Denied, Disclosure, Permit},
    proto,
    users::Found,
    wire::{self, Encoded},
};

impl Service {
    pub(super) async fn batch(
        &self,
        message: &proto::BatchGetUsersRequest,
        context: CallContext<'_>,
    ) -> Result<Encoded, Error> {
        let CallContext { metadata, peer, deadline, request_id, audit, .. } = context;
        let credentials = Credentials { metadata, access_token: "", peer };
        let caller = self.authenticator.authenticate(credentials).await?;
        context.set_caller(self.policy.name(&caller));
        audit.set_token_user(&caller);
        let batch = wire::batch(message, TimePoint::now)?;
        audit.set_batch(&batch);
        let permits = self.policy.permits(&caller, &batch)?;
        audit.set_denials(permits.iter().map(|permit| permit.as_ref().err().map(reason)));
        let by = ahead_of(deadline);
        let users = self.disclosed(permits, by).await;
        audit.set_user_outcomes(users.iter().map(|user| match user {
            Ok(user) => Ok((user.names(), user.freshness())),
            Err(error) => Err(error.reason()),
        }));
        let users = users.into_iter().map(|user| user.map_err(|error| error.into_proto(request_id)));
        let full = Error::BatchFull.into_proto(request_id);
        let (reply, omitted) = wire::batch_reply(&users.collect::<Vec<_>>(), &batch.order, &full);
        omitted.into_iter().for_each(|place| audit.set_refused(place, Error::BatchFull.reason()));
        Ok(reply)
    }

    /// Takes what is held first, for that waits for nobody, and then looks for all the others at once.
    async fn disclosed(
        &self,
        permits: Vec<Result<Permit, Denied>>,
        by: Instant,
    ) -> Vec<Result<Disclosure, Error>> {
        let (mut users, mut sought) = (Vec::with_capacity(permits.len()), Vec::new());
        for (place, permit) in permits.into_iter().enumerate() {
            users.push(match permit.map(|permit| (self.users.find_cached(&permit), permit)) {
                Err(denied) => Err(denied.into()),
                Ok((Some(found), permit)) => {
                    found.map_err(Error::from).and_then(|found| disclose(&permit, &found))
                }
                Ok((None, permit)) => {
                    sought.push((place, permit));
                    // Until it is found.
                    Err(Error::DeadlineExceeded)
                }
            });
        }
        let found = sought.into_iter().map(async |(place, permit)| (place, self.sought(&permit, by).await));
        for (place, user) in join_all(found).await {
            if let Some(slot) = users.get_mut(place) {
                *slot = user;
            }
        }
        users
    }

    async fn sought(&self, permit: &Permit, by: Instant) -> Result<Disclosure, Error> {
        let found =
            timeout_at(by, self.users.find(permit, by)).await.map_err(|_| Error::DeadlineExceeded)??;
        disclose(permit, &found)
    }
}

fn disclose(permit: &Permit, found: &Found) -> Result<Disclosure, Error> {
    Ok(permit.disclose(found.user(), found.groups(), found.freshness())?)
}

fn reason(denied: &Denied) -> &'static str {
    Error::from(denied.clone()).reason()
}

/// So far before the deadline that what has come until then can be answered.
fn ahead_of(deadline: Instant) -> Instant {
    let left = deadline.saturating_duration_since(Instant::now());
    deadline - (left / 10).min(AHEAD)
}

const AHEAD: Duration = Duration::from_millis(20);
