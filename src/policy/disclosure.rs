//! The part of a found user that a permit discloses.

use std::{sync::Arc, time::SystemTime};

use super::{
    Denied, Permit,
    permit::{GroupsSource, LookupKey},
};
use crate::{
    attribute::{CREATED_AT, Selection, UPDATED_AT, USERNAME},
    clock::BootTime,
    freshness::Freshness,
    pool::{Pool, PoolId},
    user::{Groups, Sub, User, UserStatus, Username},
};

impl Permit {
    /// Cuts a user, and its groups if they were fetched, down to what this permit allows. The token
    /// of a disabled user discloses nothing, and neither does another user than the permitted one.
    pub fn disclose(
        &self,
        user: Arc<User>,
        groups: Option<Groups>,
        freshness: Freshness,
    ) -> Result<Disclosure, Denied> {
        if user.sub != self.subject.sub {
            return Err(Denied::OtherUserFound);
        }
        if !user.enabled && self.subject.lookup_key != LookupKey::Sub {
            return Err(Denied::UserDisabled);
        }
        let groups = match &self.groups {
            GroupsSource::NotRequested => None,
            GroupsSource::Token { groups: of_token, .. } => groups.or_else(|| Some(of_token.clone())),
            GroupsSource::Cognito => groups,
        };
        let allowed = Arc::clone(&self.attributes);
        let pseudo = [USERNAME, CREATED_AT, UPDATED_AT].map(|name| allowed.contains(name));
        Ok(Disclosure { user, pool: Arc::clone(&self.subject.pool), allowed, pseudo, groups, freshness })
    }
}

/// What may be sent about one user: its methods return nothing that the rule withholds.
#[expect(missing_debug_implementations, reason = "everything in it is personal")]
pub struct Disclosure {
    /// The whole user. Sharing it with the cache costs no copy; the methods cut it to `allowed`.
    user: Arc<User>,
    pool: Arc<Pool>,
    allowed: Arc<Selection>,
    /// Whether `username`, `created_at` and `updated_at` are allowed: each is needed several times.
    pseudo: [bool; 3],
    groups: Option<Groups>,
    freshness: Freshness,
}

impl Disclosure {
    /// Returns the same with the age at `now`.
    pub(crate) fn at(self, now: BootTime) -> Self {
        Self { freshness: self.freshness.at(now), ..self }
    }

    pub(crate) fn sub(&self) -> &Sub {
        &self.user.sub
    }

    pub(crate) fn pool(&self) -> &PoolId {
        &self.pool.id
    }

    pub(crate) fn username(&self) -> Option<&Username> {
        self.pseudo[0].then_some(&self.user.username)
    }

    /// Returns the released attributes as pairs of name and value, sorted by name.
    pub(crate) fn attributes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.allowed.select(&self.user.attributes)
    }

    pub(crate) fn status(&self) -> UserStatus {
        self.user.status
    }

    pub(crate) fn enabled(&self) -> bool {
        self.user.enabled
    }

    pub(crate) fn created_at(&self) -> Option<SystemTime> {
        self.user.created_at.filter(|_| self.pseudo[1]).map(Into::into)
    }

    pub(crate) fn updated_at(&self) -> Option<SystemTime> {
        self.user.updated_at.filter(|_| self.pseudo[2]).map(Into::into)
    }

    pub(crate) fn groups(&self) -> Option<&Groups> {
        self.groups.as_ref()
    }

    pub(crate) fn freshness(&self) -> Freshness {
        self.freshness
    }

    /// Returns the names of everything disclosed beyond what is always released.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let times = [self.created_at().map(|_| CREATED_AT), self.updated_at().map(|_| UPDATED_AT)];
        let username = self.username().map(|_| USERNAME);
        let groups = self.groups.as_ref().map(|_| "groups");
        let attributes = self.attributes().map(|(name, _)| name);
        attributes.chain(username).chain(times.into_iter().flatten()).chain(groups)
    }

    /// Makes a disclosure without a permit, for the tests of other modules.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn for_test(
        user: User,
        pool: Arc<Pool>,
        allowed: Selection,
        groups: Option<Groups>,
        freshness: Freshness,
    ) -> Self {
        let pseudo = [USERNAME, CREATED_AT, UPDATED_AT].map(|name| allowed.contains(name));
        Self { user: Arc::new(user), pool, allowed: Arc::new(allowed), pseudo, groups, freshness }
    }
}
