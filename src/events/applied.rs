//! What this process has invalidated lately for all replicas.

use std::time::{Duration, SystemTime};

use crate::{
    cache::{Cache, shared_allocation},
    pool::PoolId,
    telemetry::metrics::Counter,
    user::Sub,
};

/// The users that were invalidated on all replicas lately, and when. Without it a burst of events
/// about one user would invalidate the user once for each. Bounded in bytes; a user that is forgotten
/// is only invalidated again.
#[derive(Debug)]
pub(super) struct Applied(Cache<(PoolId, Sub), SystemTime>);

impl Applied {
    /// Notes that everything fetched before `time` was invalidated.
    pub(super) fn note(&self, pool: &PoolId, sub: &Sub, time: SystemTime) {
        let latest = |known: Option<SystemTime>| known.map_or(time, |known| known.max(time));
        self.0.upsert((pool.clone(), sub.clone()), latest);
    }

    /// Returns whether everything fetched before `time` was invalidated already.
    pub(super) fn covers(&self, pool: &PoolId, sub: &Sub, time: SystemTime) -> bool {
        self.0.get(&(pool.clone(), sub.clone())).is_some_and(|known| known >= time)
    }
}

impl Default for Applied {
    fn default() -> Self {
        Self(Cache::new(MAX_BYTES, heap_bytes, |_| KEPT_FOR, Counter::default()))
    }
}

fn heap_bytes((_, sub): &(PoolId, Sub), _: &SystemTime) -> usize {
    shared_allocation(sub.as_str().len())
}

// Some 20,000 users.
const MAX_BYTES: u64 = 8 << 20;
// Events of one change are seldom further apart.
const KEPT_FOR: Duration = Duration::from_secs(15 * 60);
