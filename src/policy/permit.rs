//! What the policy grants: leave to look up one user.

use std::sync::Arc;

use crate::{
    attribute::Selection,
    auth::TokenUser,
    freshness::Demand,
    pool::Pool,
    user::{Groups, Sub, Username},
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
    pub(super) fn of(user: &TokenUser) -> Self {
        Self {
            pool: Arc::clone(&user.pool),
            sub: user.sub.clone(),
            known: Known::ByToken(user.username.clone()),
        }
    }
}
