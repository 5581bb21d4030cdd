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
    pub(super) groups: GroupsSource,
    pub(super) demand: Demand,
    pub(super) caller_limit: Option<CallerRateLimit>,
}

impl Permit {
    /// Returns the user to look up.
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// Returns whether the user's groups are wanted, and may be read.
    pub fn includes_groups(&self) -> bool {
        self.groups != GroupsSource::NotRequested
    }

    /// Returns whether Cognito is to be asked for the groups: no token told them.
    pub fn fetches_groups(&self) -> bool {
        self.groups == GroupsSource::Cognito
    }

    /// Returns how fresh the answer must be.
    pub fn demand(&self) -> Demand {
        self.demand
    }

    /// Returns what the caller may have fetched; none if only the budget itself bounds that.
    pub fn caller_limit(&self) -> Option<&CallerRateLimit> {
        self.caller_limit.as_ref()
    }
}

/// Whether a user's groups are wanted, and who tells them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum GroupsSource {
    /// Cognito does.
    Cognito,
    /// The user's own access token did.
    Token(Groups),
    /// They are not wanted.
    NotRequested,
}

/// One caller's share of the budget towards Cognito.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CallerRateLimit {
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
    pub lookup_key: LookupKey,
}

/// How a caller knows the user it asks about.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum LookupKey {
    /// By the user's `sub` alone.
    Sub,
    /// By the user's own access token, which tells the pool's name for the user.
    Username(Username),
}

impl Subject {
    pub(super) fn of(user: &TokenUser) -> Self {
        Self {
            pool: Arc::clone(&user.pool),
            sub: user.sub.clone(),
            lookup_key: LookupKey::Username(user.username.clone()),
        }
    }
}
