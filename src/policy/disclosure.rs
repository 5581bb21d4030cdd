//! What a permit lets leave of what was found.

use std::{sync::Arc, time::SystemTime};

use super::{
    Denied, Permit,
    permit::{GroupsSource, LookupKey},
};
use crate::{
    attribute::{CREATED_AT, Selection, UPDATED_AT, USERNAME},
    freshness::Freshness,
    pool::{Pool, PoolId},
    user::{Groups, Sub, User, UserStatus, Username},
};

impl Permit {
    /// Cuts a user to what this permit allows, and the groups that were sought; the only origin of [`Disclosure`]. A
    /// disabled user's own token discloses nothing.
    pub fn disclose(
        &self,
        user: &Arc<User>,
        groups: Option<&Groups>,
        freshness: Freshness,
    ) -> Result<Disclosure, Denied> {
        if !user.enabled && self.subject.lookup_key != LookupKey::Sub {
            return Err(Denied::UserDisabled);
        }
        let groups = match &self.groups {
            GroupsSource::NotRequested => None,
            GroupsSource::Token(told) => Some(told.clone()),
            GroupsSource::Cognito => groups.cloned(),
        };
        let (pool, allowed) = (Arc::clone(&self.subject.pool), Arc::clone(&self.attributes));
        Ok(Disclosure::new(Arc::clone(user), pool, allowed, groups, freshness))
    }
}

/// What may leave about one user: nothing that it tells was withheld by a rule. Its parts are personal, so it has no
/// `Debug`.
#[expect(missing_debug_implementations, reason = "everything in it is personal")]
pub struct Disclosure {
    /// All of the user, of which only what is `allowed` is told.
    user: Arc<User>,
    pool: Arc<Pool>,
    allowed: Arc<Selection>,
    pseudo: Pseudo,
    groups: Option<Groups>,
    freshness: Freshness,
}

/// Which of the pseudo-attributes are allowed: looked up once, for each is asked about more often.
struct Pseudo {
    username: bool,
    created_at: bool,
    updated_at: bool,
}

impl Disclosure {
    fn new(
        user: Arc<User>,
        pool: Arc<Pool>,
        allowed: Arc<Selection>,
        groups: Option<Groups>,
        freshness: Freshness,
    ) -> Self {
        let [username, created_at, updated_at] =
            [USERNAME, CREATED_AT, UPDATED_AT].map(|name| allowed.contains(name));
        let pseudo = Pseudo { username, created_at, updated_at };
        Self { user, pool, allowed, pseudo, groups, freshness }
    }

    /// Returns the user.
    pub fn sub(&self) -> &Sub {
        &self.user.sub
    }

    /// Returns the user's pool.
    pub fn pool(&self) -> &PoolId {
        &self.pool.id
    }

    /// Returns the pool's name for the user, if released.
    pub fn username(&self) -> Option<&Username> {
        self.pseudo.username.then_some(&self.user.username)
    }

    /// Returns the released attributes, name and value, in the order of the names.
    pub fn attributes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.allowed.select(&self.user.attributes)
    }

    /// Returns where the user stands in the sign-up and password flows.
    pub fn status(&self) -> UserStatus {
        self.user.status
    }

    /// Returns whether the user may sign in.
    pub fn enabled(&self) -> bool {
        self.user.enabled
    }

    /// Returns when the user was created, if released.
    pub fn created_at(&self) -> Option<SystemTime> {
        self.user.created_at.filter(|_| self.pseudo.created_at).map(Into::into)
    }

    /// Returns when the user was last modified, if released.
    pub fn updated_at(&self) -> Option<SystemTime> {
        self.user.updated_at.filter(|_| self.pseudo.updated_at).map(Into::into)
    }

    /// Returns the user's groups, if asked for and released.
    pub fn groups(&self) -> Option<&Groups> {
        self.groups.as_ref()
    }

    /// Returns how fresh all of it is.
    pub fn freshness(&self) -> Freshness {
        self.freshness
    }

    /// Returns the names of what it tells beyond what is always released.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let pseudo = [
            (USERNAME, self.username().is_some()),
            (CREATED_AT, self.created_at().is_some()),
            (UPDATED_AT, self.updated_at().is_some()),
            ("groups", self.groups.is_some()),
        ];
        let pseudo = pseudo.into_iter().filter_map(|(name, is_told)| is_told.then_some(name));
        self.attributes().map(|(name, _)| name).chain(pseudo)
    }

    /// Makes one that nobody was given leave for, to test what comes after.
    #[cfg(test)]
    pub(crate) fn for_test(
        user: User,
        pool: Arc<Pool>,
        allowed: Selection,
        groups: Option<Groups>,
        freshness: Freshness,
    ) -> Self {
        Self::new(Arc::new(user), pool, Arc::new(allowed), groups, freshness)
    }
}
