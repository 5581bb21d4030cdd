//! What a message says.

use std::time::SystemTime;

use crate::{
    auth::{Revocation, RevokedTokens},
    pool::{Pool, PoolId},
    user::Sub,
};

/// A change that a message reports.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Change {
    /// The name of the event, of a fixed set, for metrics.
    pub event: &'static str,
    /// What changed.
    pub kind: ChangeKind,
    /// Who changed.
    pub subject: Subject,
    /// Where it changed.
    pub pools: ChangedPools,
    /// When the call ended, by the clock of Cognito's host, rounded down to whole seconds. Never more
    /// than 10 s after the message was read.
    pub at: SystemTime,
}

/// What changed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ChangeKind {
    /// Attributes, or the linked providers, which are an attribute.
    Attributes,
    /// The user is new, so it may be cached as not found.
    Created,
    /// A password, and with it perhaps the status.
    Credentials,
    /// An administrator disabled the user. Cognito revokes the tokens.
    Disabled,
    /// An administrator enabled the user again.
    Enabled,
    /// The user is deleted.
    Erased,
    /// The groups.
    Groups,
    /// All tokens of the user are revoked.
    SignedOut,
    /// The status in the sign-up and password flows.
    Status,
    /// One refresh token is revoked, and the access tokens of its family.
    TokenRevoked,
}

/// Who changed.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Subject {
    /// One user.
    User(Sub),
    /// The members of a group that was deleted.
    GroupMembers,
}

/// The pools that a change is about.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum ChangedPools {
    /// One pool, which is served.
    One(PoolId),
    /// One of those in this Region. Calls of users themselves report no pool.
    OfRegion(Box<str>),
}

/// A message that changes nothing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ignored {
    /// The name of the event, of the same fixed set as [`Change::event`], or `other`.
    pub event: &'static str,
    /// Why it changes nothing.
    pub reason: Reason,
}

/// Why a message changes nothing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Reason {
    /// It is no event: not JSON, longer than 256 KiB, or without a field that every event has.
    Malformed,
    /// It comes from another service or a new version of CloudTrail, or is about a pool that is not
    /// served.
    Foreign,
    /// The call failed.
    Failed,
    /// The event has another name. The name is that of an operation, or none if it could be
    /// anything else.
    Unknown(Option<Box<str>>),
    /// The event does not say which user changed.
    NoSubject,
}

impl Change {
    /// Returns whether it may be about a user of this pool.
    pub(super) fn is_in(&self, pool: &Pool) -> bool {
        match &self.pools {
            ChangedPools::One(id) => pool.id == *id,
            ChangedPools::OfRegion(region) => pool.region == **region,
        }
    }

    /// Returns the revocation of the tokens that a user got until the change.
    pub(super) fn revocation(&self, pool: &PoolId, sub: &Sub) -> Revocation {
        Revocation { pool: pool.clone(), tokens: RevokedTokens::OfUser(sub.clone()), at: self.at }
    }
}

impl Reason {
    /// Returns whether the message belongs into the dead-letter queue. All others are deleted.
    pub fn is_for_the_dead_letter_queue(&self) -> bool {
        *self == Self::Malformed
    }
}

impl Ignored {
    pub(super) fn malformed() -> Self {
        Self { event: OTHER, reason: Reason::Malformed }
    }

    pub(super) fn foreign() -> Self {
        Self { event: OTHER, reason: Reason::Foreign }
    }
}

/// The name of all events outside the fixed set.
pub(super) const OTHER: &str = "other";
