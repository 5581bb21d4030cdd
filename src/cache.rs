//! In-memory caches bounded in bytes: the weight, expiry and eviction of entries.

use std::{fmt, hash::Hash, mem::size_of, sync::Weak, time::Duration};

use moka::{
    Expiry,
    notification::RemovalCause,
    ops::compute::{CompResult, Op},
    policy::EvictionPolicy,
    sync,
};
use tokio::{task::spawn_blocking, time::sleep};
use tracing::error;

use crate::telemetry::metrics::Counter;

/// A cache bounded in bytes; cheap to clone. Its `Debug` shows no entry.
///
/// A read takes no lock and allocates nothing beyond the clone of the value. Writes of one key run
/// one after the other.
///
/// moka queues the effects of reads and writes on the eviction order. It applies them on a calling
/// thread once 64 of either are queued, or 300 ms after the last time. Only one thread does so,
/// while others go on without it. One run takes at most 5 rounds of 384 reads, 384 writes and 384
/// evictions, and all entries that expired since. So a cache may exceed its bound by the queued
/// entries, usually 64.
#[derive(Clone)]
pub struct Cache<K, V>(sync::Cache<K, V>);

impl<K, V> Cache<K, V>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Makes an empty cache.
    ///
    /// `heap_bytes` returns the heap memory that key and value own, in bytes. `time_left` returns
    /// how long from now a value may stay. It only frees memory, by moka's own clock; the caller
    /// decides whether a value may be served. `evictions` counts evictions because the cache is
    /// full, not removals, replacements or expiries.
    pub fn new(
        max_bytes: u64,
        heap_bytes: fn(&K, &V) -> usize,
        time_left: impl Fn(&V) -> Duration + Send + Sync + 'static,
        evictions: Counter,
    ) -> Self {
        let cache = sync::Cache::builder()
            .max_capacity(max_bytes)
            .weigher(move |key, value| {
                u32::try_from(Self::bytes_of(heap_bytes(key, value))).unwrap_or(u32::MAX)
            })
            .expire_after(TimeLeft(time_left))
            // TinyLFU refuses a user that was just fetched, at the cost of a call to Cognito
            // (benches/README.md).
            .eviction_policy(EvictionPolicy::lru())
            .eviction_listener(move |_, _, cause| {
                if cause == RemovalCause::Size {
                    evictions.inc();
                }
            });
        Self(cache.build())
    }

    /// Returns the memory of an entry whose key and value own `heap_bytes`, in bytes.
    pub fn bytes_of(heap_bytes: usize) -> usize {
        ENTRY_BYTES + size_of::<K>() + size_of::<V>() + heap_bytes
    }

    /// Returns the value of `key`, whatever its age.
    pub fn get(&self, key: &K) -> Option<V> {
        self.0.get(key)
    }

    /// Sets the value of `key`.
    pub fn insert(&self, key: K, value: V) {
        self.0.entry(key).and_upsert_with(|_| value);
    }

    /// Sets the value of `key` to what `value` makes of the present one, if any. No other write of the
    /// key comes between.
    pub fn upsert(&self, key: K, value: impl FnOnce(Option<V>) -> V) {
        self.0.entry(key).and_upsert_with(|present| value(present.map(moka::Entry::into_value)));
    }

    /// Replaces the value of `key`, if any, by the result of `change`; returns whether there was
    /// one. No other write of the key comes between.
    pub fn update(&self, key: &K, change: impl FnOnce(V) -> V) -> bool {
        let updated = self
            .0
            .entry_by_ref(key)
            .and_compute_with(|entry| entry.map_or(Op::Nop, |entry| Op::Put(change(entry.into_value()))));
        matches!(updated, CompResult::ReplacedWith(_))
    }

    /// Removes `key`; returns whether it was there.
    pub fn remove(&self, key: &K) -> bool {
        matches!(self.0.entry_by_ref(key).and_compute_with(|_| Op::Remove), CompResult::Removed(_))
    }

    /// Removes all entries that match, and returns how many. Scans every entry without blocking
    /// reads or writes; too slow for a serving thread.
    pub fn remove_where(&self, matches: impl Fn(&V) -> bool) -> usize {
        self.0.iter().filter(|(key, value)| matches(value) && self.remove(key)).count()
    }

    /// Frees expired entries. moka has no thread of its own, so otherwise they stay until the next
    /// read or write.
    pub fn maintain(&self) {
        self.0.run_pending_tasks();
    }

    /// Returns the number of entries when moka last applied writes.
    #[cfg(test)]
    pub(crate) fn applied_entries(&self) -> u64 {
        self.0.entry_count()
    }

    /// Returns the current size of the cache, including writes that moka has not applied yet.
    pub fn size(&self) -> Size {
        self.maintain();
        let gauge = |size: u64| i64::try_from(size).unwrap_or(i64::MAX);
        Size { entries: gauge(self.0.entry_count()), bytes: gauge(self.0.weighted_size()) }
    }
}

/// The size of a cache, in the type of a gauge.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Size {
    /// The number of entries.
    pub entries: i64,
    /// The memory of the entries, in bytes.
    pub bytes: i64,
}

impl<K, V> fmt::Debug for Cache<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("bytes", &self.0.weighted_size()).finish_non_exhaustive()
    }
}

/// Runs `maintain` at once and after every `interval`, on a blocking thread, until `owner` is
/// dropped.
pub async fn maintain<T: Send + Sync + 'static>(owner: Weak<T>, interval: Duration, maintain: fn(&T)) {
    while let Some(owner) = owner.upgrade() {
        if spawn_blocking(move || maintain(&owner)).await.is_err() {
            error!("cache maintenance panicked: expired entries stay in memory until the next run");
        }
        sleep(interval).await;
    }
}

/// Returns the memory of one allocation of `bytes`, in bytes: its size class in jemalloc, which the
/// binary uses.
pub const fn allocation(bytes: usize) -> usize {
    let spacing = match bytes {
        0..=8 => 8,
        9..=128 => 16,
        _ => bytes.next_power_of_two() / 8,
    };
    bytes.next_multiple_of(spacing)
}

/// Returns the memory of `bytes` behind an `Arc`, in bytes.
pub const fn shared_allocation(bytes: usize) -> usize {
    allocation(size_of::<[usize; 2]>() + bytes)
}

/// The expiry of a value, renewed with each value.
struct TimeLeft<F>(F);

#[expect(clippy::disallowed_types, reason = "it is in the signatures of moka's trait, and not read")]
impl<K, V, F: Fn(&V) -> Duration> Expiry<K, V> for TimeLeft<F> {
    fn expire_after_create(&self, _: &K, value: &V, _: std::time::Instant) -> Option<Duration> {
        Some((self.0)(value))
    }

    fn expire_after_update(
        &self,
        _: &K,
        value: &V,
        _: std::time::Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some((self.0)(value))
    }
}

// moka's memory for an entry, without key and value: measured by the tests named `memory`.
const ENTRY_BYTES: usize = 320;
/// How often the owner of a cache should have it maintained.
pub const MAINTENANCE_INTERVAL: Duration = Duration::from_secs(60);

/// Returns the resident memory of the process, in bytes.
#[cfg(test)]
pub(crate) fn resident() -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kibibytes: i64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    kibibytes * 1024
}
