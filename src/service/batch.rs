//! `BatchGetUsers`: the same straight line for each of several users at once, and what has come by the deadline.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, timeout_at};
use tonic::Request;

use super::{Service, calls::Arrival};
use crate::{
    auth::Credentials,
    error::Error,
    freshness::Moment,
    policy::{Denied, Disclosure, Permit},
    proto,
    wire::{self, Encoded},
};

impl Service {
    pub(super) async fn batch(
        &self,
        request: Request<proto::BatchGetUsersRequest>,
        arrival: Arrival<'_>,
    ) -> Result<Encoded, Error> {
        let (metadata, _, message) = request.into_parts();
        let Arrival { peer, deadline, request_id, notes } = arrival;
        let credentials = Credentials { metadata: &metadata, access_token: "", peer };
        let caller = self.authenticator.authenticate(credentials).await?;
        notes.caller(self.policy.name(&caller));
        notes.bearer(&caller);
        let batch = wire::batch(&message, Moment::now())?;
        notes.batch(&batch);
        let permits = self.policy.permits(&caller, &batch)?;
        notes.permits(permits.iter().map(|permit| permit.as_ref().err().map(reason)));
        let by = ahead_of(deadline);
        let users = join_all(permits.into_iter().map(|permit| self.disclosed(permit, by))).await;
        notes.users(users.iter().map(|user| match user {
            Ok(user) => Ok((user.names(), user.freshness())),
            Err(error) => Err(error.reason()),
        }));
        let users = users.into_iter().map(|user| user.map_err(|error| error.into_message(request_id)));
        let full = Error::Full.into_message(request_id);
        let (reply, untold) = wire::batch_reply(&users.collect::<Vec<_>>(), &batch.order, &full);
        untold.into_iter().for_each(|place| notes.refused(place, Error::Full.reason()));
        Ok(reply)
    }

    async fn disclosed(&self, permit: Result<Permit, Denied>, by: Instant) -> Result<Disclosure, Error> {
        let permit = permit?;
        let found = timeout_at(by, self.users.find(&permit, by)).await.map_err(|_| Error::OutOfTime)??;
        Ok(permit.disclose(found.user(), found.groups(), found.freshness())?)
    }
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
