//! Permits for several users at once, each decided by itself.

use super::{Denied, Permit, Policy, rule::Reads};
use crate::{auth::Caller, query::BatchQuery};

impl Policy {
    /// Decides as [`permit`](Self::permit) for each user of a batch, in the order of its `subs`. Fails as a whole where the
    /// reason is the caller, the attributes or the pool, and so the same whoever is asked about.
    pub fn permits(
        &self,
        caller: &Caller,
        batch: &BatchQuery,
    ) -> Result<Vec<Result<Permit, Denied>>, Denied> {
        let rule = self.rule(caller.identity())?;
        let decided = batch.queries().map(|query| match self.permit_by(rule, caller, query) {
            // The token is there to say who may be read, and says that this one may not.
            Err(Denied::SubjectAmbiguous) if rule.reads == Reads::Token => Ok(Err(Denied::SubjectNotAllowed)),
            Err(denied) if denied.is_of_the_whole() => Err(denied),
            decided => Ok(decided),
        });
        decided.collect()
    }
}

impl Denied {
    fn is_of_the_whole(&self) -> bool {
        match self {
            Self::SubjectAmbiguous | Self::UserDisabled | Self::SubjectNotAllowed => false,
            Self::CredentialMissing
            | Self::AttributesNotAllowed(_)
            | Self::CallerNotAllowed
            | Self::CallerNameUnknown
            | Self::NotAdmin
            | Self::SubjectMissing
            | Self::PoolMissing
            | Self::PoolUnknown
            | Self::ScopeMissing => true,
        }
    }
}
