//! The rate of one quota category: how many calls a second it allows; pure.

use tokio::time::Instant;

use super::{Priority, aimd::Aimd, category::QuotaCategory};

/// One category's rate.
#[derive(Debug)]
pub(super) struct Allowance {
    /// The rate of the settings, in calls a second.
    configured: Option<usize>,
    /// The quota that Cognito reports, or else its default, in calls a second.
    quota: usize,
    pub(super) aimd: Aimd,
}

impl Allowance {
    pub(super) fn new(category: QuotaCategory, configured: Option<usize>) -> Self {
        Self { configured, quota: category.default_quota(), aimd: Aimd::default() }
    }

    /// Follows the quota that Cognito reports.
    pub(super) fn report_quota(&mut self, per_second: usize) {
        self.quota = per_second;
    }

    /// Returns the calls a second before throttling: the configured rate, or else 80 % of the
    /// quota, because others use the account's quota too.
    pub(super) fn per_second(&self) -> usize {
        self.configured.unwrap_or_else(|| self.quota.saturating_mul(4) / 5)
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
