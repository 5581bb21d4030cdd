//! The limit on the memory of all connections, and the eviction of strangers.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use super::rate::ReadRate;
use crate::telemetry::metrics::{Counter, Metrics};

/// The limit on the memory of all connections; cheap to clone.
#[derive(Clone, Debug)]
pub struct MemoryLimit(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    bytes: usize,
    connection_bytes: usize,
    refusals: Counter,
    taken: Mutex<Taken>,
    reads: ReadRate,
}

/// What the connections have taken, in bytes.
#[derive(Debug, Default)]
struct Taken {
    all: usize,
    /// The part of strangers: connections on which no caller has been identified.
    strangers: usize,
    /// The strangers that may be evicted, the oldest first.
    evictable: BTreeMap<u64, Stranger>,
    opened: u64,
    /// When the current second of evictions began, and how many it has had.
    evictions: Option<(Instant, u32)>,
}

#[derive(Debug)]
struct Stranger {
    bytes: usize,
    evicted: Arc<Notify>,
}

/// There is no room for a connection, a request or a response.
#[derive(Debug, Eq, PartialEq)]
pub struct Exhausted;

/// What one connection has taken.
#[derive(Debug)]
pub(super) struct Share {
    limit: MemoryLimit,
    number: u64,
    pub(super) bytes: usize,
    pub(super) is_known: bool,
    pub(super) evicted: Arc<Notify>,
}

impl MemoryLimit {
    /// Limits all connections together to `bytes`. One without calls takes `connection_bytes`.
    pub fn new(bytes: usize, connection_bytes: usize, metrics: &Metrics) -> Self {
        let (refusals, taken) = (metrics.server.memory_refusals.clone(), Mutex::default());
        let reads = ReadRate::default();
        let limit = Self(Arc::new(Shared { bytes, connection_bytes, refusals, taken, reads }));
        let (read, gauge) = (limit.clone(), metrics.server.connection_memory.clone());
        metrics.scrape_callbacks.add(move || {
            gauge.set(read.taken().all.try_into().unwrap_or(i64::MAX));
        });
        limit
    }

    /// Returns the bytes that a connection without calls takes.
    pub(super) fn connection_bytes(&self) -> usize {
        self.0.connection_bytes
    }

    /// Counts `bytes` that were read from strangers. Returns how long to wait until more are read.
    pub(super) fn strangers_read(&self, bytes: usize) -> Option<Duration> {
        // Few connections are no attack, whatever they send.
        let is_crowded = self.taken().strangers > self.0.of_strangers() / 4;
        self.0.reads.count(bytes, if is_crowded { CROWDED_RATE } else { RATE })
    }

    pub(super) fn count_refusal(&self) {
        self.0.refusals.inc();
    }

    /// Takes `bytes` for a new connection. Where strangers have taken their part of the limit, the
    /// one that has taken most is evicted, so that they cannot keep others out.
    pub(super) fn open(&self, bytes: usize) -> Result<Share, Exhausted> {
        let mut taken = self.taken();
        let is_full = taken.strangers + bytes > self.0.of_strangers() || taken.all + bytes > self.0.bytes;
        // What is evicted is given back soon, and not at once.
        if is_full && !taken.evict_largest() || taken.all + bytes > self.0.bytes {
            drop(taken);
            self.count_refusal();
            return Err(Exhausted);
        }
        taken.opened += 1;
        let (number, evicted) = (taken.opened, Arc::<Notify>::default());
        taken.evictable.insert(number, Stranger { bytes: 0, evicted: Arc::clone(&evicted) });
        let mut share = Share { limit: self.clone(), number, bytes: 0, is_known: false, evicted };
        share.set(&mut taken, bytes);
        drop(taken);
        Ok(share)
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.0.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// Returns what strangers may take: the rest is kept for connections with identified callers.
    fn of_strangers(&self) -> usize {
        self.bytes / 3 * 2
    }
}

impl Taken {
    /// Evicts the stranger that has taken most, and returns whether there was one. Evicts none if
    /// too many were evicted just now: clients that connect again and again would otherwise cost
    /// as much as their calls.
    fn evict_largest(&mut self) -> bool {
        let now = Instant::now();
        let (begun, count) = self.evictions.filter(|(begun, _)| now - *begun < SECOND).unwrap_or((now, 0));
        // Before the scan, which holds the lock.
        if count >= EVICTIONS_PER_SECOND {
            return false;
        }
        let largest =
            self.evictable.iter().max_by_key(|(number, stranger)| (stranger.bytes, Reverse(**number)));
        let largest = largest.map(|(number, _)| *number);
        let Some(stranger) = largest.and_then(|number| self.evictable.remove(&number)) else { return false };
        self.evictions = Some((begun, count + 1));
        stranger.evicted.notify_one();
        true
    }
}

impl Share {
    /// Takes `more` bytes, unless they exceed the limit or what one connection may take.
    pub(super) fn grow(&mut self, more: usize) -> Result<(), Exhausted> {
        let limit = self.limit.clone();
        let (mut taken, whole) = (limit.taken(), limit.0.bytes);
        let most = if self.is_known { whole / 4 } else { whole / 64 };
        let fits = self.bytes + more <= most
            // The rest is for new connections, each with room for a few calls.
            && taken.all + more <= whole - whole / 8
            && (self.is_known || taken.strangers + more <= limit.0.of_strangers());
        if !fits {
            return Err(Exhausted);
        }
        self.set(&mut taken, self.bytes + more);
        Ok(())
    }

    /// Returns all but `bytes`.
    pub(super) fn shrink(&mut self, bytes: usize) {
        let limit = self.limit.clone();
        self.set(&mut limit.taken(), bytes);
    }

    /// Moves the share to the known connections, which are not evicted.
    pub(super) fn set_known(&mut self) {
        let limit = self.limit.clone();
        let mut taken = limit.taken();
        if !self.is_known {
            taken.strangers -= self.bytes;
            taken.evictable.remove(&self.number);
            self.is_known = true;
        }
    }

    fn set(&mut self, taken: &mut Taken, bytes: usize) {
        taken.all = taken.all + bytes - self.bytes;
        if !self.is_known {
            taken.strangers = taken.strangers + bytes - self.bytes;
        }
        if let Some(stranger) = taken.evictable.get_mut(&self.number) {
            stranger.bytes = bytes;
        }
        self.bytes = bytes;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.shrink(0);
        self.limit.taken().evictable.remove(&self.number);
    }
}

const EVICTIONS_PER_SECOND: u32 = 50;
const SECOND: Duration = Duration::from_secs(1);
// Bytes a second that all strangers together may send. A first call has one to two KiB, so this is
// enough for thousands of clients that connect again, and leaves the CPU to the known ones.
const RATE: f64 = 4.0 * 1024.0 * 1024.0;
const CROWDED_RATE: f64 = 512.0 * 1024.0;
