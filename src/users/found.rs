//! What a lookup brings: a user and how fresh it is, or why there is none.

use std::{sync::Arc, time::Duration};

use thiserror::Error;
use tokio::time::Instant;

use super::entry::{CacheEntry, Content};
use crate::{
    freshness::{Freshness, Source, StaleReason, TimePoint},
    user::{Groups, User},
};

/// What answers one request: held, or fetched for it.
#[derive(Debug)]
pub(super) struct Answer {
    content: Content,
    began: TimePoint,
    freshness: Freshness,
}

impl Answer {
    pub(super) fn of(
        entry: &CacheEntry,
        source: Source,
        stale_reason: Option<StaleReason>,
        now: Instant,
    ) -> Self {
        let (content, began) = (entry.content.clone(), entry.began);
        Self { content, began, freshness: entry.freshness(source, stale_reason, now) }
    }
}

/// A user, and its groups where they were sought, and how fresh what is known of it is; made by [`super::Users`] only.
#[derive(Debug)]
pub struct Found {
    user: Arc<User>,
    groups: Option<Groups>,
    began: TimePoint,
    freshness: Freshness,
}

impl Found {
    /// Takes the answer to a request about a user.
    pub(super) fn user_of(answer: Answer) -> Result<Self, Failure> {
        let Answer { content, began, freshness } = answer;
        match content {
            Content::Absent(_) => Err(Failure::NoSuchUser),
            Content::Groups(_) => Err(Failure::Internal),
            Content::Present(user) => Ok(Self { user, groups: None, began, freshness }),
        }
    }

    /// Adds the answer to a request about the user's groups: all of it is as old as the older of the two is `now`.
    pub(super) fn with_groups_of(self, answer: Answer, now: Instant) -> Result<Self, Failure> {
        let Content::Groups(groups) = answer.content else { return Err(Failure::Internal) };
        let stale_reason = self.freshness.stale_reason.or(answer.freshness.stale_reason);
        let (began, older) = if answer.began.monotonic < self.began.monotonic {
            (answer.began, answer.freshness)
        } else {
            (self.began, self.freshness)
        };
        let age = now.saturating_duration_since(began.monotonic);
        Ok(Self { groups: Some(groups), began, freshness: Freshness { age, stale_reason, ..older }, ..self })
    }

    /// Returns the user, uncut: only a permit may disclose it.
    pub fn user(&self) -> &Arc<User> {
        &self.user
    }

    /// Returns its groups, uncut too; none if they were not sought.
    pub fn groups(&self) -> Option<&Groups> {
        self.groups.as_ref()
    }

    /// Returns how fresh it is.
    pub fn freshness(&self) -> Freshness {
        self.freshness
    }
}

/// Why no user was found; the text is for the log, callers get a constant.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Failure {
    /// Cognito's answer is no user.
    #[error("Cognito's answer could not be read as a user")]
    Unreadable,
    /// The fetch ended without a result: a fault of ours.
    #[error("a fetch ended without a result")]
    Internal,
    /// Cognito answered with somebody else, or with several users.
    #[error("Cognito answered with another user than the one asked for")]
    WrongUser,
    /// Cognito knows no such user.
    #[error("Cognito knows no such user")]
    NoSuchUser,
    /// The budget for calls to Cognito has none left for this one in time; there will be one after this long.
    #[error("the budget for calls to Cognito is spent")]
    BudgetExhausted(Duration),
    /// Too many other users are being fetched.
    #[error("too many users are being fetched at once")]
    Overloaded,
    /// Cognito refuses this service: credentials, permissions or the pool are wrong. An operator must act.
    #[error("Cognito refuses this service: check its credentials, its IAM permissions and the pool id")]
    AccessDenied,
    /// Cognito throttles this service.
    #[error("Cognito throttles this service")]
    Throttled,
    /// Cognito failed, or did not answer in time.
    #[error("Cognito failed or did not answer in time")]
    Unavailable,
}

impl Failure {
    /// Returns why what is held is served in place of an answer; none for a failure that is an answer, or is ours.
    pub(super) fn stale_reason(self) -> Option<StaleReason> {
        match self {
            Self::BudgetExhausted(_) | Self::Overloaded => Some(StaleReason::BudgetExhausted),
            Self::Throttled => Some(StaleReason::UpstreamThrottled),
            Self::Unreadable | Self::AccessDenied | Self::Unavailable => {
                Some(StaleReason::UpstreamUnavailable)
            }
            Self::Internal | Self::WrongUser | Self::NoSuchUser => None,
        }
    }
}
