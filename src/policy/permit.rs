//! What the policy grants: to look up one user and to disclose some of what is found.

use std::sync::Arc;

use crate::{
    attribute::Selection,
    freshness::FreshnessRequirement,
    pool::Pool,
    user::{Groups, Sub, Username},
};

/// Permission to look up one user and to disclose some of it.
#[derive(Clone, Debug)]
pub struct Permit {
    pub(super) subject: Subject,
    pub(super) attributes: Arc<Selection>,
    pub(super) groups: GroupsSource,
    pub(super) freshness: FreshnessRequirement,
    pub(super) caller_limit: Option<CallerRateLimit>,
}

impl Permit {
    pub(crate) fn subject(&self) -> &Subject {
        &self.subject
    }

    /// Returns whether the groups must be fetched from Cognito.
    pub(crate) fn fetches_groups(&self) -> bool {
        self.groups == GroupsSource::Cognito
    }

    pub(crate) fn freshness(&self) -> FreshnessRequirement {
        self.freshness
    }

    pub(crate) fn caller_limit(&self) -> Option<&CallerRateLimit> {
        self.caller_limit.as_ref()
    }
}

/// Permission to administer one user: to inspect or remove its cache entry.
#[derive(Clone, Debug)]
pub struct AdminPermit(pub(super) Subject);

impl AdminPermit {
    /// Returns the user, looked up by `sub`.
    pub fn subject(&self) -> &Subject {
        &self.0
    }
}

/// Where the user's groups come from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum GroupsSource {
    Cognito,
    /// The access token names them.
    Token(Groups),
    NotRequested,
}

/// The rate limit of one caller's cache misses.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CallerRateLimit {
    /// The configured name of the caller.
    pub caller: Arc<str>,
    /// The users that may be fetched for it in any second, at least 1.
    pub misses_per_second: usize,
}

/// The user that a permit is about.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Subject {
    /// The user's pool.
    pub pool: Arc<Pool>,
    /// The user.
    pub sub: Sub,
    /// What Cognito looks the user up by.
    pub lookup_key: LookupKey,
}

/// What Cognito looks a user up by.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum LookupKey {
    /// The `sub`, given by a caller that may read any user.
    Sub,
    /// The username in the access token that the caller presented.
    Username(Username),
}
