//! What the cache answers, what it holds, and what it gives up for want of room.

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// The counters and gauges of the cache; cheap to clone.
#[derive(Clone, Debug)]
pub struct CacheMetrics {
    /// The refreshes that were begun.
    pub refreshes: Counter,
    /// The users, or absences, that were given up for want of room.
    pub evictions: Family<StoreLabels, Counter>,
    /// How many users and absences are held.
    pub entries: Family<StoreLabels, Gauge>,
    /// How many bytes they are weighed as.
    pub bytes: Family<StoreLabels, Gauge>,
    lookups: Family<LookupLabels, Counter>,
    /// The same, each at hand: a hit should not look for its counter.
    of: [Counter; LookupOutcome::ALL.len()],
}

impl CacheMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        let lookups = "Questions to the cache; only a Miss waited for Cognito";
        registry.register("cache_lookups", lookups, self.lookups.clone());
        let refreshes = "Refreshes begun in the background";
        registry.register("cache_refreshes", refreshes, self.refreshes.clone());
        let evictions = "Users and absences given up for want of room";
        registry.register("cache_evictions", evictions, self.evictions.clone());
        registry.register("cache_entries", "Users and absences held", self.entries.clone());
        registry.register(
            "cache_bytes",
            "What the users and absences held are weighed as",
            self.bytes.clone(),
        );
    }

    /// Begins to count a question.
    pub fn begin_lookup(&self) -> PendingLookup<'_> {
        PendingLookup { cache_metrics: self, lookup: LookupOutcome::Miss }
    }
}

/// A question under way. One that is dropped before its end was a miss.
#[derive(Debug)]
pub struct PendingLookup<'a> {
    cache_metrics: &'a CacheMetrics,
    lookup: LookupOutcome,
}

impl PendingLookup<'_> {
    /// Tells how it was answered.
    pub fn end(mut self, lookup: LookupOutcome) {
        self.lookup = lookup;
    }
}

impl Drop for PendingLookup<'_> {
    fn drop(&mut self) {
        if let Some(counter) = self.cache_metrics.of.get(self.lookup as usize) {
            counter.inc();
        }
    }
}

impl Default for CacheMetrics {
    fn default() -> Self {
        let (lookups, evictions) = (Family::default(), Family::default());
        for store in [Store::Absences, Store::Users] {
            drop(Family::<StoreLabels, Counter>::get_or_create(&evictions, &StoreLabels { store }));
        }
        let of = LookupOutcome::ALL
            .map(|lookup| Family::get_or_create_owned(&lookups, &LookupLabels { outcome: lookup }));
        let (entries, bytes) = (Family::default(), Family::default());
        Self { refreshes: Counter::default(), evictions, entries, bytes, lookups, of }
    }
}

#[derive(Clone, Copy, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct LookupLabels {
    outcome: LookupOutcome,
}

/// How a question was answered.
#[derive(Clone, Copy, Debug, EncodeLabelValue, Eq, Hash, PartialEq)]
pub enum LookupOutcome {
    /// By an absence that is held.
    Absent,
    /// By a fresh user.
    Fresh,
    /// By Cognito, or not at all.
    Miss,
    /// By a user past half of its freshness, so that a refresh was due.
    Refreshing,
    /// By a user past its freshness, for Cognito could not answer.
    Stale,
}

impl LookupOutcome {
    const ALL: [Self; 5] = [Self::Absent, Self::Fresh, Self::Miss, Self::Refreshing, Self::Stale];
}

/// One of the two stores.
#[derive(Clone, Copy, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct StoreLabels {
    /// Which.
    pub store: Store,
}

/// What a store holds.
#[derive(Clone, Copy, Debug, EncodeLabelValue, Eq, Hash, PartialEq)]
pub enum Store {
    /// The `sub`s that are unknown.
    Absences,
    /// The users.
    Users,
}
