//! The result of a lookup: a user with its freshness, or the failure.

use std::{sync::Arc, time::Duration};

use thiserror::Error;

use super::entry::{CacheEntry, Content};
use crate::{
    clock::BootTime,
    freshness::{Freshness, Source, StaleReason},
    policy::{Denied, Disclosure, Permit},
    user::{Groups, User, Username},
};

/// What one request for an entry got, from the cache or from a fetch.
#[derive(Debug)]
pub(super) struct Answer {
    content: Content,
    pub(super) freshness: Freshness,
}

impl Answer {
    pub(super) fn of(
        entry: &CacheEntry,
        source: Source,
        stale_reason: Option<StaleReason>,
        now: BootTime,
    ) -> Self {
        Self { content: entry.content.clone(), freshness: entry.freshness(source, stale_reason, now) }
    }
}

/// A user, its groups if they were looked up, and how fresh both are. Only [`super::Users`] makes
/// one.
#[derive(Clone, Debug)]
pub struct Found {
    user: Arc<User>,
    groups: Option<Groups>,
    freshness: Freshness,
}

impl Found {
    /// Reads the answer to a request for a user.
    pub(super) fn user_of(answer: Answer) -> Result<Self, Failure> {
        match answer.content {
            Content::Absent(_) => Err(Failure::NoSuchUser),
            Content::Groups(..) => Err(Failure::Internal),
            Content::Present(user) => Ok(Self { user, groups: None, freshness: answer.freshness }),
        }
    }

    /// Adds the result of a request for the user's groups. Both then have the age of the older one
    /// at `now`.
    pub(super) fn with_groups_of(self, answer: Answer, now: BootTime) -> Result<Self, Failure> {
        let Content::Groups(groups, _) = answer.content else { return Err(Failure::Internal) };
        let freshness = self.freshness.with(answer.freshness).at(now);
        Ok(Self { groups: Some(groups), freshness, ..self })
    }

    /// Returns whether a later fetch, that of the groups, found the user disabled.
    pub(super) fn is_outdated_by(&self, groups: &Answer) -> bool {
        let is_later = groups.freshness.began.boot >= self.freshness.began.boot;
        self.user.enabled && groups.content.is_gone() && is_later
    }

    /// Returns the name by which Cognito knows the user.
    pub(super) fn username(&self) -> &Username {
        &self.user.username
    }

    /// Cuts the user down to what `permit` allows. No other method returns it to other modules.
    pub fn disclose(self, permit: &Permit) -> Result<Disclosure, Denied> {
        permit.disclose(self.user, self.groups, self.freshness)
    }

    #[cfg(test)]
    pub(super) fn user(&self) -> &User {
        &self.user
    }

    /// Returns all groups of the user; none if they were not fetched.
    #[cfg(test)]
    pub(super) fn groups(&self) -> Option<&Groups> {
        self.groups.as_ref()
    }

    /// Returns how fresh it is.
    pub fn freshness(&self) -> Freshness {
        self.freshness
    }
}

/// Why no user was found. The text is for the log; callers get a constant.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Failure {
    /// Cognito's response is not a user.
    #[error("Cognito's response cannot be read as a user")]
    Unreadable,
    /// The fetch ended without a result: a bug of this service.
    #[error("a fetch ended without a result")]
    Internal,
    /// Cognito's answer contradicts itself: another user than the one listed by `sub`, or several.
    #[error(
        "Cognito's answer contradicts itself: it is about another user than the one listed by sub, or several"
    )]
    WrongUser,
    /// Cognito knows no such user.
    #[error("Cognito knows no such user")]
    NoSuchUser,
    /// The rate limit has no call left before the deadline; the next one could start after this
    /// time.
    #[error("the rate limit for calls to Cognito is exhausted")]
    BudgetExhausted(Duration),
    /// Too many fetches are in flight.
    #[error("too many fetches are in flight")]
    Overloaded,
    /// Cognito denies the call: credentials, permissions or the pool id are wrong. An operator must
    /// act.
    #[error("Cognito denies the call: check the credentials, the IAM permissions and the pool id")]
    AccessDenied,
    /// Cognito throttles this service.
    #[error("Cognito throttles this service")]
    Throttled,
    /// Cognito has not answered the last calls in time, so none is made before this time has passed.
    #[error("Cognito does not answer in time, so it is not called at present")]
    CircuitOpen(Duration),
    /// Cognito failed, or did not answer in time.
    #[error("Cognito failed or did not answer in time")]
    Unavailable,
}

impl Failure {
    /// Returns the reason under which a stale entry is served in place of this failure. None for a
    /// failure that is an answer of Cognito, or a bug.
    pub(super) fn stale_reason(self) -> Option<StaleReason> {
        match self {
            Self::BudgetExhausted(_) | Self::Overloaded => Some(StaleReason::BudgetExhausted),
            Self::Throttled => Some(StaleReason::UpstreamThrottled),
            Self::Unreadable | Self::AccessDenied | Self::Unavailable | Self::CircuitOpen(_) => {
                Some(StaleReason::UpstreamUnavailable)
            }
            Self::Internal | Self::WrongUser | Self::NoSuchUser => None,
        }
    }
}
