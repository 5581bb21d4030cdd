//! One change of a user.

use std::time::SystemTime;

use super::ChangeKinds;
use crate::{clock::TimePoint, pool::PoolId, user::Sub};

/// A user that changed.
pub type ChangedUser = (PoolId, Sub);

/// Which users changed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Changed {
    /// This user.
    User(ChangedUser),
    /// Unknown users of this pool.
    SomeOf(PoolId),
}

impl From<ChangedUser> for Changed {
    fn from(user: ChangedUser) -> Self {
        Self::User(user)
    }
}

/// What changed, and when. It has no value of a user.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Change {
    /// What changed or may have changed.
    pub kinds: ChangeKinds,
    /// When it changed by Cognito's clock, if Cognito said so.
    pub changed_at: Option<SystemTime>,
    /// When this service published it. It is in the log within a second, so no checkpoint is ahead of it.
    pub seen_at: SystemTime,
    /// Tokens issued until this time are refused, if any are.
    pub tokens_issued_until: Option<SystemTime>,
}

impl Change {
    /// Returns a change that this service hears of at `seen_at`, without a time by Cognito's clock.
    pub fn seen(kinds: impl Into<ChangeKinds>, seen_at: SystemTime) -> Self {
        Self { kinds: kinds.into(), changed_at: None, seen_at, tokens_issued_until: None }
    }

    /// Returns this change as one that this service hears of now: it is about to be told, and whatever came
    /// before may have taken long.
    #[must_use]
    pub fn seen_now(self) -> Self {
        Self { seen_at: TimePoint::now().system, ..self }
    }

    /// Returns this change and a later one as one.
    #[must_use]
    pub(super) fn and(self, later: Self) -> Self {
        Self {
            kinds: self.kinds | later.kinds,
            changed_at: self.changed_at.max(later.changed_at),
            seen_at: self.seen_at.max(later.seen_at),
            tokens_issued_until: self.tokens_issued_until.max(later.tokens_issued_until),
        }
    }
}
