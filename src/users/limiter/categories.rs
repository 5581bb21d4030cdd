//! The queue of each quota category.

use super::{allowance::Allowance, category::QuotaCategory, queue::CategoryQueue};
use crate::config::BudgetSettings;

/// The queue of each category.
#[derive(Debug)]
pub(super) struct Categories {
    group_reads: CategoryQueue,
    lists: CategoryQueue,
    user_reads: CategoryQueue,
}

impl Categories {
    /// Makes empty queues with the configured rates.
    pub(super) fn new(settings: &BudgetSettings) -> Self {
        let queue = |category, configured| CategoryQueue::new(Allowance::new(category, configured));
        Self {
            group_reads: queue(QuotaCategory::GroupReads, settings.group_reads_per_second),
            lists: queue(QuotaCategory::Lists, settings.lists_per_second),
            user_reads: queue(QuotaCategory::UserReads, settings.user_reads_per_second),
        }
    }

    pub(super) fn get(&self, category: QuotaCategory) -> &CategoryQueue {
        match category {
            QuotaCategory::GroupReads => &self.group_reads,
            QuotaCategory::Lists => &self.lists,
            QuotaCategory::UserReads => &self.user_reads,
        }
    }

    pub(super) fn get_mut(&mut self, category: QuotaCategory) -> &mut CategoryQueue {
        match category {
            QuotaCategory::GroupReads => &mut self.group_reads,
            QuotaCategory::Lists => &mut self.lists,
            QuotaCategory::UserReads => &mut self.user_reads,
        }
    }
}
