//! Metrics of the user cache.

use prometheus_client::metrics::{counter::Counter, gauge::Gauge};

use super::EnumFamily;

metric_set! {
    /// Metrics of the user cache; cheap to clone.
    pub struct CacheMetrics {
        /// Lookups in the user cache, by outcome. A Miss waited for Cognito; a Stale one up to half a
        /// second.
        lookups: EnumFamily<LookupOutcome, Counter> = "cache_lookups",
        /// Refreshes begun in the background.
        pub refreshes: Counter = "cache_refreshes",
        /// Entries evicted because the user cache was full.
        pub evictions: EnumFamily<Store, Counter> = "cache_evictions",
        /// Entries in the user cache.
        pub entries: EnumFamily<Store, Gauge> = "cache_entries",
        /// Estimated size of the entries in the user cache, in bytes.
        pub bytes: EnumFamily<Store, Gauge> = "cache_bytes",
    }
}

impl CacheMetrics {
    /// Begins to count a lookup.
    pub fn begin_lookup(&self) -> PendingLookup<'_> {
        PendingLookup { metrics: self, outcome: LookupOutcome::Miss }
    }
}

/// A lookup that is not counted yet. Dropping it counts a miss.
#[derive(Debug)]
pub struct PendingLookup<'a> {
    metrics: &'a CacheMetrics,
    outcome: LookupOutcome,
}

impl PendingLookup<'_> {
    /// Counts the lookup.
    pub fn end(mut self, outcome: LookupOutcome) {
        self.outcome = outcome;
    }
}

impl Drop for PendingLookup<'_> {
    fn drop(&mut self) {
        self.metrics.lookups.get(self.outcome).inc();
    }
}

label! {
    /// How a lookup was answered.
    pub enum LookupOutcome = "outcome" {
        /// By a negative entry: the user does not exist.
        Absent,
        /// By a fresh entry.
        Fresh,
        /// By Cognito, or not at all.
        Miss,
        /// By a fresh entry old enough to be refreshed in the background.
        Refreshing,
        /// By a stale entry, because Cognito could not answer (stale-if-error).
        Stale,
    }
}

label! {
    /// What a part of the cache holds.
    pub enum Store = "store" {
        /// Negative entries: each says that a user does not exist.
        Absences,
        /// Users, with their groups.
        Users,
    }
}
