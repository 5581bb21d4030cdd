//! What an operator may do with what is held of one user: look at it, have it asked for anew, or have it forgotten.

use std::sync::Arc;

use tokio::time::Instant;

use super::{CacheEntry, Content, Decision, EntryKind, Key, LookupMethod, UserCache, Users};
use crate::{
    freshness::{Demand, Freshness, Source},
    policy::AdminPermit,
};

/// What is held of one user, without values.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EntryInfo {
    /// What the entry is.
    pub state: EntryState,
    /// How fresh it is; none where nothing is held.
    pub freshness: Option<Freshness>,
    /// The attributes that are held, by name.
    pub attributes: Vec<String>,
    /// Whether the groups are held too.
    pub groups: bool,
    /// What all of it takes in the cache, in bytes.
    pub bytes: u64,
    /// Whether a fetch of the user, or of its groups, is under way.
    pub in_flight: bool,
}

/// What an entry is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EntryState {
    /// Cognito's answer that there is no such user, served for `cache.absent_for`.
    Absent,
    /// A user, fresh enough to be served.
    Fresh,
    /// Nothing.
    NotCached,
    /// A user past its freshness, served only while Cognito cannot answer, if then.
    Stale,
}

/// What was forgotten of one user.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Erased {
    /// Whether the user, or its groups, were held.
    pub entry: bool,
    /// Whether an absence was held.
    pub absence: bool,
    /// Fetches under way, of the user and of its groups, whose results will not be held.
    pub fetches: usize,
}

impl Users {
    /// Looks at what is held of the mandate's user, and changes nothing.
    pub fn inspect(&self, permit: &AdminPermit) -> EntryInfo {
        self.entry_info(&Key::of(permit.subject()))
    }

    /// Has the mandate's user asked for anew by the next read; until Cognito answers, what is held is of use as any that
    /// is stale. What a fetch under way brings is not held, and answers only who asked before. Tells whether anything was
    /// held.
    pub fn expire(&self, permit: &AdminPermit) -> bool {
        self.expire_key(&Key::of(permit.subject()))
    }

    /// Forgets the mandate's user. What a fetch under way brings is not held, and answers only who asked before;
    /// nor what a fetch brings that begins later, but for a question from before.
    pub fn erase(&self, permit: &AdminPermit) -> Erased {
        self.erase_key(&Key::of(permit.subject()))
    }

    pub(super) fn entry_info(&self, user: &Key) -> EntryInfo {
        let now = Instant::now();
        let [held, groups] = EntryKind::ALL.map(|kind| {
            let key = user.with_kind(kind);
            self.0.cache.get(&key).map(|held| (UserCache::weight(&key, &held), held))
        });
        let bytes = [&held, &groups].into_iter().flatten().map(|(bytes, _)| *bytes).sum();
        let held = held.map(|(_, held)| held);
        EntryInfo {
            state: held.as_ref().map_or(EntryState::NotCached, |held| self.state(held, now)),
            freshness: held.as_ref().map(|held| held.freshness(Source::Cache, None, now)),
            attributes: held.map(|held| held.content.attributes()).unwrap_or_default(),
            groups: groups.is_some(),
            bytes,
            in_flight: EntryKind::ALL.iter().any(|kind| self.0.single_flight.has(&user.with_kind(*kind))),
        }
    }

    fn state(&self, held: &CacheEntry, now: Instant) -> EntryState {
        match (&held.content, self.0.ttls.decide(held, LookupMethod::BySub, Demand::ANY, now)) {
            (Content::Absent(_), _) => EntryState::Absent,
            (_, Decision::Serve | Decision::ServeAndRefresh) => EntryState::Fresh,
            _ => EntryState::Stale,
        }
    }

    pub(super) fn expire_key(&self, user: &Key) -> bool {
        self.detach(user);
        self.0.cache.expire(user)
    }

    pub(super) fn erase_key(&self, user: &Key) -> Erased {
        let _erasing = self.0.epochs.begin(user);
        let fetches = self.detach(user);
        let (entry, absence) = self.0.cache.remove(user);
        if let Ok(cognito) = self.cognito(user) {
            self.0.single_flight.spawn(Arc::clone(cognito.limiter()).forget(user.clone()));
        }
        Erased { entry, absence, fetches }
    }

    /// First of all: what such a fetch brought before it is then in the cache, to be found there, and what it brings after
    /// it is never.
    fn detach(&self, user: &Key) -> usize {
        EntryKind::ALL.into_iter().filter(|kind| self.0.single_flight.detach(&user.with_kind(*kind))).count()
    }
}

impl Content {
    /// Returns the names of the attributes.
    fn attributes(&self) -> Vec<String> {
        match self {
            Self::Absent(_) | Self::Groups(_) => Vec::new(),
            Self::Present(user) => user.attributes.iter().map(|(name, _)| name.to_owned()).collect(),
        }
    }
}
