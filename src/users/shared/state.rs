//! What an administrator can see of one user in the shared cache.

use std::time::Duration;

use super::{
    super::{
        cache::Key,
        entry::{Content, Ttls},
    },
    Shared, value,
};
use crate::{
    clock::TimePoint,
    freshness::Freshness,
    shared_cache::{CallError, Look, LookOutcome, Looked, ServerTime},
};

/// The state of one user in the shared cache, without values.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SharedEntryInfo {
    /// The state of the user's entry.
    pub state: SharedState,
    /// How fresh it is; none if there is none, or if it cannot be read.
    pub freshness: Option<Freshness>,
}

/// The state of an entry in the shared cache.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SharedState {
    /// The shared cache does not answer.
    Unavailable,
    /// It has no entry of the user.
    NotCached,
    /// A replica fetches the user at present.
    Fetching,
    /// It has the user, and nothing was invalidated since.
    Cached,
    /// It has Cognito's answer that there is no such user.
    Absent,
    /// It has an entry from before the user was expired, for use while Cognito fails.
    Expired,
    /// It has an entry that this replica cannot read.
    Unreadable,
}

impl SharedEntryInfo {
    /// The state without an entry.
    pub(in crate::users) fn without_entry(state: SharedState) -> Self {
        Self { state, freshness: None }
    }
}

impl Shared {
    /// Describes what the shared cache has of a user, without changing it.
    pub(in crate::users) async fn inspect(&self, key: &Key, ttls: &Ttls) -> SharedEntryInfo {
        let sent = TimePoint::now();
        match self.peek(key).await {
            Ok(looked) => self.describe(key, ttls, &looked, sent),
            Err(_) => SharedEntryInfo::without_entry(SharedState::Unavailable),
        }
    }

    async fn peek(&self, key: &Key) -> Result<Looked, CallError> {
        let kind = key.kind.into();
        // No value is usable, so that each comes with its time.
        let (max_age, newer_than) = (Duration::ZERO, ServerTime::MAX);
        let look = Look { kind, lease: None, max_age, newer_than, waited_for: None };
        self.store.look(&self.user(&key.pool, &key.sub), &look).await
    }

    fn describe(&self, key: &Key, ttls: &Ttls, looked: &Looked, sent: TimePoint) -> SharedEntryInfo {
        let old = match &looked.outcome {
            LookOutcome::Nothing { old: Some(old) } if !self.is_outdated(old, looked.now) => old,
            LookOutcome::Busy { .. } => return SharedEntryInfo::without_entry(SharedState::Fetching),
            _ => return SharedEntryInfo::without_entry(SharedState::NotCached),
        };
        let Ok(entry) = value::open(&self.store, key, &old.sealed, sent, looked.now) else {
            return SharedEntryInfo::without_entry(SharedState::Unreadable);
        };
        if !ttls.holds(&entry, sent.boot) {
            return SharedEntryInfo::without_entry(SharedState::NotCached);
        }
        let state = match entry.content {
            _ if old.since <= looked.invalidated => SharedState::Expired,
            Content::Absent(_) => SharedState::Absent,
            _ => SharedState::Cached,
        };
        let freshness = entry.freshness(entry.origin, None, sent.boot);
        SharedEntryInfo { state, freshness: Some(freshness) }
    }
}
