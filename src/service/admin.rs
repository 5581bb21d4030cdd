//! The RPCs of administrators: what is held of one user, and why a caller gets what it gets.

use std::time::SystemTime;

use uuid::Uuid;

use super::{Service, calls::Arrival};
use crate::{
    audit::Erasure,
    auth::Credentials,
    error::Error,
    policy::{Mandate, Subject},
    proto,
    query::{InvalidQuery, Target},
    wire::{self, Encoded},
};

impl Service {
    /// Gives leave to look after the user that a request names, as `read` reads it, and returns what else is asked.
    async fn mandate<T, Q>(
        &self,
        message: &T,
        arrival: Arrival<'_>,
        read: impl FnOnce(&T) -> Result<(Target, Q), InvalidQuery>,
    ) -> Result<(Mandate, Q), Error> {
        let Arrival { metadata, peer, audit, .. } = arrival;
        let credentials = Credentials { metadata, access_token: "", peer };
        let caller = self.authenticator.authenticate(credentials).await?;
        audit.set_caller(self.policy.name(&caller));
        let (target, asked) = read(message)?;
        audit.set_target(&target);
        Ok((self.policy.mandate(&caller, target)?, asked))
    }

    pub(super) async fn inspect(
        &self,
        message: &proto::InspectUserRequest,
        arrival: Arrival<'_>,
    ) -> Result<Encoded, Error> {
        let read = |message: &proto::InspectUserRequest| {
            Ok((wire::target(&message.sub, &message.user_pool_id)?, ()))
        };
        let (mandate, ()) = self.mandate(message, arrival, read).await?;
        Ok(Encoded::of(&wire::entry_info(self.users.inspect(&mandate))))
    }

    pub(super) async fn expire(
        &self,
        message: &proto::ExpireUserRequest,
        arrival: Arrival<'_>,
    ) -> Result<Encoded, Error> {
        let read =
            |message: &proto::ExpireUserRequest| Ok((wire::target(&message.sub, &message.user_pool_id)?, ()));
        let (mandate, ()) = self.mandate(message, arrival, read).await?;
        Ok(Encoded::of(&wire::expired(self.users.expire(&mandate))))
    }

    pub(super) async fn erase(
        &self,
        message: &proto::EraseUserRequest,
        arrival: Arrival<'_>,
    ) -> Result<Encoded, Error> {
        let read =
            |message: &proto::EraseUserRequest| Ok((wire::target(&message.sub, &message.user_pool_id)?, ()));
        let (mandate, ()) = self.mandate(message, arrival, read).await?;
        let receipt_id = Uuid::now_v7().to_string();
        let Subject { pool, sub, .. } = mandate.subject();
        let erased = self.users.erase(&mandate);
        let verdicts = self.authenticator.forget(&pool.id, sub).await.map_err(|_| Error::Panicked)?;
        let receipt = wire::erased(&receipt_id, SystemTime::now(), erased, verdicts);
        arrival.audit.set_erasure(Erasure {
            receipt_id,
            entries: receipt.entries,
            absences: receipt.absences,
            verdicts: receipt.verdicts,
            fetches: receipt.fetches,
        });
        Ok(Encoded::of(&receipt))
    }

    pub(super) async fn explain(
        &self,
        message: &proto::ExplainAccessRequest,
        arrival: Arrival<'_>,
    ) -> Result<Encoded, Error> {
        let (mandate, query) = self.mandate(message, arrival, wire::access_query).await?;
        Ok(Encoded::of(&wire::explanation(self.policy.explain(&mandate, query)?)))
    }
}
