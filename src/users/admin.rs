//! What an administrator can see of one user's cache entry.

use futures_util::future::OptionFuture;

use super::{
    Users,
    cache::{EntryKind, Key, UserCache},
    entry::{CacheEntry, Content, Decision, LookupMethod},
    shared::SharedEntryInfo,
};
use crate::{
    clock::BootTime,
    freshness::{Freshness, FreshnessRequirement, Source},
    policy::AdminPermit,
};

/// The cached state of one user, without values.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EntryInfo {
    /// The state of the entry.
    pub state: EntryState,
    /// How fresh it is; none if nothing is cached.
    pub freshness: Option<Freshness>,
    /// The names of the cached attributes.
    pub attributes: Vec<String>,
    /// Whether the groups are cached too.
    pub groups: bool,
    /// The size of all of it in the cache, in bytes.
    pub bytes: u64,
    /// Whether a fetch of the user, or of its groups, is in flight.
    pub in_flight: bool,
    /// What the shared cache has of the user; none without a shared cache.
    pub shared: Option<SharedEntryInfo>,
}

/// The state of a cache entry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EntryState {
    /// A negative entry, served for `cache.absent_for`.
    Absent,
    /// A user, fresh enough to be served.
    Fresh,
    /// Nothing is cached.
    NotCached,
    /// A user past its TTL, served only while Cognito cannot answer, and not beyond
    /// `cache.usable_for`.
    Stale,
}

impl Users {
    /// Describes what is cached of the permit's user, here and in the shared cache, without changing
    /// it. Waits for one call of the shared cache. Cancel safe.
    pub async fn inspect(&self, permit: &AdminPermit) -> EntryInfo {
        let user = Key::of(permit.subject());
        let shared =
            OptionFuture::from(self.0.shared.as_ref().map(|shared| shared.inspect(&user, &self.0.ttls)))
                .await;
        EntryInfo { shared, ..self.entry_info(&user) }
    }

    pub(super) fn entry_info(&self, user: &Key) -> EntryInfo {
        let now = BootTime::now();
        let [entry, groups] = EntryKind::ALL.map(|kind| {
            let key = user.with_kind(kind);
            self.0.cache.get(&key).map(|entry| (UserCache::weight(&key, &entry), entry))
        });
        // The memory of an absence past its TTL may not be freed yet, but it is never served.
        let entry = entry.filter(|(_, entry)| self.0.ttls.holds(entry, now));
        let bytes = [&entry, &groups].into_iter().flatten().map(|(bytes, _)| *bytes).sum();
        let entry = entry.map(|(_, entry)| entry);
        EntryInfo {
            state: entry.as_ref().map_or(EntryState::NotCached, |entry| self.state(entry, now)),
            freshness: entry.as_ref().map(|entry| entry.freshness(Source::Cache, None, now)),
            attributes: match entry.map(|entry| entry.content) {
                Some(Content::Present(user)) => {
                    user.attributes.iter().map(|(name, _)| name.to_owned()).collect()
                }
                _ => Vec::new(),
            },
            groups: groups.is_some(),
            bytes,
            shared: None,
            in_flight: EntryKind::ALL.iter().any(|kind| self.0.single_flight.has(&user.with_kind(*kind))),
        }
    }

    fn state(&self, entry: &CacheEntry, now: BootTime) -> EntryState {
        match self.0.ttls.decide(entry, LookupMethod::BySub, FreshnessRequirement::Any, now) {
            _ if matches!(entry.content, Content::Absent(_)) => EntryState::Absent,
            Decision::Serve | Decision::ServeAndRefresh => EntryState::Fresh,
            _ => EntryState::Stale,
        }
    }
}
