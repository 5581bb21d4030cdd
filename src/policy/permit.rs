//! What the policy grants: leave to look up one user, and then to disclose some of what is found.

use std::{sync::Arc, time::SystemTime};

use super::Denied;
use crate::{
    attribute::{CREATED_AT, Selection, UPDATED_AT, USERNAME},
    auth::Person,
    freshness::{Demand, Freshness},
    pool::{Pool, PoolId},
    user::{Account, Groups, Sub, User, Username},
};

/// Leave to look up one user and to disclose some of what is found; made by [`super::Policy::permit`] only.
#[derive(Clone, Debug)]
pub struct Permit {
    pub(super) subject: Subject,
    pub(super) attributes: Arc<Selection>,
    pub(super) groups: Membership,
    pub(super) demand: Demand,
    pub(super) share: Option<Share>,
}

impl Permit {
    /// Returns the user to look up.
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// Returns whether the user's groups are wanted, and may be read.
    pub fn groups(&self) -> bool {
        self.groups != Membership::Unasked
    }

    /// Returns whether Cognito is to be asked for the groups: no token told them.
    pub fn seeks_groups(&self) -> bool {
        self.groups == Membership::Sought
    }

    /// Returns how fresh the answer must be.
    pub fn demand(&self) -> Demand {
        self.demand
    }

    /// Returns what the caller may have fetched; none if only the budget itself bounds that.
    pub fn share(&self) -> Option<&Share> {
        self.share.as_ref()
    }

    /// Cuts a user to what this permit allows, and the groups that were sought; the only origin of [`Disclosure`]. A
    /// disabled user's own token discloses nothing.
    pub fn disclose(
        &self,
        user: &Arc<User>,
        groups: Option<&Groups>,
        freshness: Freshness,
    ) -> Result<Disclosure, Denied> {
        if !user.enabled && self.subject.known != Known::BySub {
            return Err(Denied::Disabled);
        }
        Ok(Disclosure {
            user: Arc::clone(user),
            pool: Arc::clone(&self.subject.pool),
            allowed: Arc::clone(&self.attributes),
            groups: match &self.groups {
                Membership::Unasked => None,
                Membership::Told(told) => Some(told.clone()),
                Membership::Sought => groups.cloned(),
            },
            freshness,
        })
    }
}

/// Whether a user's groups are wanted, and who tells them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Membership {
    /// Cognito does.
    Sought,
    /// The user's own access token did.
    Told(Groups),
    /// They are not wanted.
    Unasked,
}

/// One caller's share of the budget towards Cognito.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Share {
    /// The caller's name, by which it is told from the others.
    pub caller: Arc<str>,
    /// How many users a second may be fetched because of it, at least one.
    pub misses_per_second: usize,
}

/// Whom a permit is about.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Subject {
    /// The user's pool.
    pub pool: Arc<Pool>,
    /// The user.
    pub sub: Sub,
    /// How the user is known to the caller.
    pub known: Known,
}

/// How a caller knows the user it asks about.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Known {
    /// By the user's `sub` alone.
    BySub,
    /// By the user's own access token, which tells the pool's name for the user.
    ByToken(Username),
}

impl Subject {
    pub(super) fn of(person: &Person) -> Self {
        Self {
            pool: Arc::clone(&person.pool),
            sub: person.sub.clone(),
            known: Known::ByToken(person.username.clone()),
        }
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
    groups: Option<Groups>,
    freshness: Freshness,
}

impl Disclosure {
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
        self.allows(USERNAME).then_some(&self.user.username)
    }

    /// Returns the released attributes, name and value, in the order of the names.
    pub fn attributes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.allowed.among(&self.user.attributes)
    }

    /// Returns where the user stands in the sign-up and password flows.
    pub fn account(&self) -> Account {
        self.user.account
    }

    /// Returns whether the user may sign in.
    pub fn enabled(&self) -> bool {
        self.user.enabled
    }

    /// Returns when the user was created, if released.
    pub fn created_at(&self) -> Option<SystemTime> {
        self.user.created_at.filter(|_| self.allows(CREATED_AT))
    }

    /// Returns when the user was last modified, if released.
    pub fn updated_at(&self) -> Option<SystemTime> {
        self.user.updated_at.filter(|_| self.allows(UPDATED_AT))
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

    fn allows(&self, name: &str) -> bool {
        self.allowed.contains(name)
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
        Self { user: Arc::new(user), pool, allowed: Arc::new(allowed), groups, freshness }
    }
}
