//! How many calls all replicas together may make in the worst second; pure.

use std::fmt::{self, Display, Formatter};

/// The calls of one category in the worst second: some replicas use all of the shared rate, and every
/// replica that there may be uses its cut-off allowance. `Display` shows it as a sum.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct WorstCase {
    /// The calls a second that all replicas share.
    pub(super) rate: usize,
    /// The calls a second of a replica that cannot reach the store.
    pub(super) cut_off: usize,
    pub(super) replicas: usize,
    /// The quota of the category, in calls a second.
    pub(super) quota: usize,
}

impl WorstCase {
    fn calls(self) -> usize {
        self.rate.saturating_add(self.replicas.saturating_mul(self.cut_off))
    }

    pub(super) fn exceeds_quota(self) -> bool {
        self.calls() > self.quota
    }
}

impl Display for WorstCase {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { rate, cut_off, replicas, .. } = self;
        write!(
            f,
            "{rate} of those that reach the shared cache and {cut_off} of each of {replicas} that do not are {}",
            self.calls()
        )
    }
}
