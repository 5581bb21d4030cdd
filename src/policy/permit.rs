//! What the policy grants: to look up one user and to disclose some of what is found.

use std::{sync::Arc, time::SystemTime};

use aws_lc_rs::digest::{SHA256, digest};

use crate::{
    attribute::Selection,
    changes::WatchFilter,
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
    pub(super) caller_limit: CallerRateLimit,
}

impl Permit {
    pub(crate) fn subject(&self) -> &Subject {
        &self.subject
    }

    /// Returns whether the groups must be fetched from Cognito.
    pub(crate) fn fetches_groups(&self) -> bool {
        self.groups == GroupsSource::Cognito
    }

    /// Returns when the token was issued whose groups are disclosed; none if there is no such token.
    pub(crate) fn token_with_groups_issued_at(&self) -> Option<SystemTime> {
        match self.groups {
            GroupsSource::Token { issued_at, .. } => Some(issued_at),
            GroupsSource::Cognito | GroupsSource::NotRequested => None,
        }
    }

    pub(crate) fn freshness(&self) -> FreshnessRequirement {
        self.freshness
    }

    pub(crate) fn caller_limit(&self) -> CallerRateLimit {
        self.caller_limit
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

/// Permission to watch changes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WatchPermit(pub(super) WatchFilter);

impl WatchPermit {
    /// Returns which changes.
    pub fn into_filter(self) -> WatchFilter {
        self.0
    }
}

/// Where the user's groups come from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum GroupsSource {
    Cognito,
    /// The access token names them. Those that were fetched since are disclosed instead, if any.
    Token {
        groups: Groups,
        issued_at: SystemTime,
    },
    NotRequested,
}

/// A caller, and the rate limit of its cache misses.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CallerRateLimit {
    /// A number of the caller, from the name of its rule alone: the same in all replicas and after a
    /// reload, whatever rules are before it.
    pub caller: usize,
    /// The calls to Cognito that may be made for it in any second, at least 1; none if only its
    /// fair part of the whole rate limit bounds it.
    pub misses_per_second: Option<usize>,
}

impl CallerRateLimit {
    pub(super) fn new(caller: &str, misses_per_second: Option<usize>) -> Self {
        let hash = digest(&SHA256, caller.as_bytes());
        let number = hash.as_ref().first_chunk().map_or(0, |bytes| usize::from_le_bytes(*bytes));
        Self { caller: number, misses_per_second }
    }
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
