//! The rate of one quota category: how many calls a second it allows; pure.

use tokio::time::Instant;

use super::{Priority, aimd::Aimd, category::QuotaCategory, worst_case::WorstCase};

/// One category's rate.
#[derive(Debug)]
pub(super) struct Allowance {
    /// The rate of the settings, in calls a second.
    configured: Option<usize>,
    /// The quota that Cognito reports, or else its default, in calls a second.
    quota: usize,
    /// The most replicas that share the rate; none if one has all of it.
    replicas_at_most: Option<usize>,
    pub(super) aimd: Aimd,
}

impl Allowance {
    pub(super) fn new(category: QuotaCategory, configured: Option<usize>) -> Self {
        Self { configured, quota: category.default_quota(), replicas_at_most: None, aimd: Aimd::default() }
    }

    /// Makes it the rate of all replicas together, at most so many.
    pub(super) fn share(&mut self, replicas_at_most: usize) {
        self.replicas_at_most = Some(replicas_at_most);
    }

    /// Follows the quota that Cognito reports.
    pub(super) fn report_quota(&mut self, per_second: usize) {
        self.quota = per_second;
    }

    /// Returns the calls a second before throttling: the configured rate, or else 80 % of the
    /// quota, because others use the account's quota too. Of a small quota, the cut-off allowances of
    /// all replicas may need more than the rest, but do not get more than half of the rate.
    pub(super) fn per_second(&self) -> usize {
        self.configured.unwrap_or_else(|| {
            let (rate, replicas) = (self.quota.saturating_mul(4) / 5, self.replicas_at_most.unwrap_or(0));
            let cut_off = replicas.saturating_mul(cut_off(rate, replicas));
            rate.min(self.quota.saturating_sub(cut_off)).max(rate / 2)
        })
    }

    /// Returns what all replicas may make together at most; none if one has all of the rate.
    pub(super) fn worst_case(&self) -> Option<WorstCase> {
        let (replicas, rate, quota) = (self.replicas_at_most?, self.per_second(), self.quota);
        Some(WorstCase { rate, cut_off: cut_off(rate, replicas), replicas, quota })
    }

    /// Returns the calls a second of a replica that cannot reach the store: a quarter of the rate of
    /// all, divided by their number, at least one.
    pub(super) fn cut_off(&self, now: Instant) -> usize {
        let rate = cut_off(self.per_second(), self.replicas_at_most.unwrap_or(1));
        ((rate as f64 * self.aimd.factor(now)) as usize).max(1)
    }

    /// Returns the calls a second for `priority` now, at least one. Background calls get half of
    /// it.
    pub(super) fn rate(&self, priority: Priority, now: Instant) -> usize {
        let rate = (self.per_second() as f64 * self.aimd.factor(now)) as usize;
        match priority {
            Priority::Background => (rate / 2).max(1),
            Priority::Batch | Priority::Single => rate.max(1),
        }
    }
}

fn cut_off(rate: usize, replicas: usize) -> usize {
    (rate / 4 / replicas.max(1)).max(1)
}
