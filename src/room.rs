//! How much a cache may hold, in bytes.

use std::hash::{Hash, RandomState};

use quick_cache::{Lifecycle, OptionsBuilder, Weighter, sync::Cache};

/// The room of one cache, and what it is divided by.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// All of it, in bytes.
    pub bytes: u64,
    /// What a usual entry takes, in bytes.
    pub usual: u64,
    /// The part of each shard, in bytes, in which the largest entry must fit a few times. Two callers wait for each other
    /// only where one writes to a shard that the other looks at.
    pub shard: u64,
    /// At most so many shards.
    pub shards: usize,
}

impl Room {
    /// Makes an empty cache. Its hash is keyed at random: a caller may choose any key.
    pub fn cache<K, V, W, L>(self, weigh: W, lifecycle: L) -> Cache<K, V, W, RandomState, L>
    where
        K: Eq + Hash,
        V: Clone,
        W: Weighter<K, V> + Clone,
        L: Lifecycle<K, V> + Clone,
    {
        let items = usize::try_from(self.bytes / self.usual).unwrap_or(MANY).clamp(1, MANY);
        let shards = usize::try_from(self.bytes / self.shard).unwrap_or(self.shards).clamp(1, self.shards);
        let options = OptionsBuilder::new()
            .weight_capacity(self.bytes)
            .estimated_items_capacity(items)
            .shards(shards)
            .build();
        match options {
            Ok(options) => Cache::with_options(options, weigh, RandomState::new(), lifecycle),
            // Only where a number is missing; then the cache chooses its shards itself.
            Err(_) => Cache::with(items, self.bytes, weigh, RandomState::new(), lifecycle),
        }
    }
}

// More are held in the same way; it is only what the cache makes room for at once.
const MANY: usize = 1 << 20;

/// Returns the resident memory of the process, in bytes.
#[cfg(test)]
pub(crate) fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    kibibytes * 1024
}
