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
    pub(super) attributes: Selection,
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
        user: &User,
        groups: Option<&Groups>,
        freshness: Freshness,
    ) -> Result<Disclosure, Denied> {
        if !user.enabled && self.subject.known != Known::BySub {
            return Err(Denied::Disabled);
        }
        let allowed = |name: &str| self.attributes.contains(name);
        let attributes = user.attributes.iter().filter(|(name, _)| allowed(name));
        Ok(Disclosure {
            sub: user.sub.clone(),
            pool: self.subject.pool.id.clone(),
            username: allowed(USERNAME).then(|| user.username.clone()),
            attributes: attributes.map(|(name, value)| (name.into(), value.into())).collect(),
            account: user.account,
            enabled: user.enabled,
            created_at: user.created_at.filter(|_| allowed(CREATED_AT)),
            updated_at: user.updated_at.filter(|_| allowed(UPDATED_AT)),
            groups: match &self.groups {
                Membership::Unasked => None,
                Membership::Told(told) => Some(told.clone()),
                Membership::Sought => groups.cloned(),
            },
            freshness,
            proof: Proof(()),
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

/// What may leave about one user: nothing in it was withheld by a rule. Its parts are personal, so it has no `Debug`.
#[expect(missing_debug_implementations, reason = "everything in it is personal")]
pub struct Disclosure {
    /// The user.
    pub sub: Sub,
    /// The user's pool.
    pub pool: PoolId,
    /// The pool's name for the user, if released.
    pub username: Option<Username>,
    /// The released attributes, name and value.
    pub attributes: Vec<(String, String)>,
    /// Where the user stands in the sign-up and password flows.
    pub account: Account,
    /// Whether the user may sign in.
    pub enabled: bool,
    /// When the user was created, if released.
    pub created_at: Option<SystemTime>,
    /// When the user was last modified, if released.
    pub updated_at: Option<SystemTime>,
    /// The user's groups, if asked for and released.
    pub groups: Option<Groups>,
    /// How fresh all of it is.
    pub freshness: Freshness,
    /// Keeps every other module from making one.
    #[expect(dead_code, reason = "it is there to be missing elsewhere")]
    proof: Proof,
}

impl Disclosure {
    /// Returns the names of what it tells beyond what is always released.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let pseudo = [
            (USERNAME, self.username.is_some()),
            (CREATED_AT, self.created_at.is_some()),
            (UPDATED_AT, self.updated_at.is_some()),
            ("groups", self.groups.is_some()),
        ];
        let pseudo = pseudo.into_iter().filter_map(|(name, is_told)| is_told.then_some(name));
        self.attributes.iter().map(|(name, _)| name.as_str()).chain(pseudo)
    }
}

struct Proof(());
