//! The rate of one quota category: how many calls a second it allows, and which were made; pure.

use tokio::time::Instant;

use super::{Priority, aimd::Aimd, category::QuotaCategory, window::SlidingWindow};

/// One category's rate, and the window it is spent from.
#[derive(Debug)]
pub(super) struct Allowance {
    /// The rate of the settings, in calls a second.
    configured: Option<usize>,
    /// The quota that Cognito reports, or else its default, in calls a second.
    quota: usize,
    pub(super) aimd: Aimd,
    pub(super) window: SlidingWindow,
}

impl Allowance {
    pub(super) fn new(category: QuotaCategory, configured: Option<usize>) -> Self {
        let quota = category.default_quota();
        Self { configured, quota, aimd: Aimd::default(), window: SlidingWindow::default() }
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
            Priority::Foreground => rate.max(1),
        }
    }

    /// Returns how many foreground calls could start at once, and how many a second.
    pub(super) fn left(&self, now: Instant) -> (usize, usize) {
        let rate = self.rate(Priority::Foreground, now);
        (rate.saturating_sub(self.window.taken(now)), rate)
    }

    /// Returns whether no call can start at once, and Cognito's throttling may be the reason.
    pub(super) fn is_throttled(&self, priority: Priority, now: Instant) -> bool {
        self.aimd.factor(now) < 1.0 && self.window.next(self.rate(priority, now), now) > now
    }
}
