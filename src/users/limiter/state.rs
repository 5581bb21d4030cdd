//! The calls that were made and reserved. Every decision follows from them and the time given;
//! pure.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    Acquire, allowance::Allowance, category::QuotaCategory, retry_budget::RetryBudget, window::SlidingWindow,
};
use crate::{
    config::BudgetSettings,
    users::{Failure, cache::Key},
};

/// The windows of every category, user and caller.
#[derive(Debug)]
pub(super) struct LimiterState {
    group_reads: Allowance,
    lists: Allowance,
    pub(super) user_reads: Allowance,
    /// The users that a call was about within the last second.
    pub(super) users: HashMap<Key, SlidingWindow>,
    callers: HashMap<Arc<str>, SlidingWindow>,
    pub(super) retry_budget: RetryBudget,
}

impl LimiterState {
    pub(super) fn new(settings: &BudgetSettings) -> Self {
        Self {
            group_reads: Allowance::new(QuotaCategory::GroupReads, settings.group_reads_per_second),
            lists: Allowance::new(QuotaCategory::Lists, settings.lists_per_second),
            user_reads: Allowance::new(QuotaCategory::UserReads, settings.user_reads_per_second),
            users: HashMap::new(),
            callers: HashMap::new(),
            retry_budget: RetryBudget::default(),
        }
    }

    /// Reserves a call and returns when it starts, or fails if that leaves too little time before
    /// `deadline`.
    pub(super) fn reserve(
        &mut self,
        acquire: &Acquire<'_>,
        now: Instant,
        deadline: Instant,
    ) -> Result<Instant, Failure> {
        let at = self.next(acquire, now);
        if at > now {
            // Cognito throttles, so report that and not our own limit; waiting rarely helps.
            if self.allowance(acquire.category).is_throttled(acquire.priority, now) {
                return Err(Failure::Throttled);
            }
            if at + CALL_TIME > deadline {
                return Err(Failure::BudgetExhausted(at - now));
            }
        }
        self.take(acquire, at, now);
        Ok(at)
    }

    /// Returns the earliest time at which the category, the user and the caller all allow a call.
    fn next(&mut self, acquire: &Acquire<'_>, now: Instant) -> Instant {
        let rate = self.allowance(acquire.category).rate(acquire.priority, now);
        let mut at = now;
        loop {
            let mut later = self.allowance(acquire.category).window.next(rate, at);
            if let Some(user) = self.users.get(acquire.user) {
                later = user.next(READS_OF_ONE_USER, later);
            }
            if let Some(caller_limit) = acquire.caller_limit.filter(|_| !acquire.is_continuation)
                && let Some(caller) = self.callers.get(&caller_limit.caller)
            {
                later = caller.next(caller_limit.misses_per_second, later);
            }
            if later == at {
                return at;
            }
            at = later;
        }
    }

    fn take(&mut self, acquire: &Acquire<'_>, at: Instant, now: Instant) {
        self.allowance(acquire.category).window.take(at, now);
        // Prunes before the map grows, so that it has about as many users as one second's calls.
        if self.users.len() == self.users.capacity() {
            self.prune(now);
        }
        self.users.entry(acquire.user.clone()).or_default().take(at, now);
        if let Some(caller_limit) = acquire.caller_limit {
            let caller = self.callers.entry(Arc::clone(&caller_limit.caller)).or_default();
            caller.take(caller.next(caller_limit.misses_per_second, at), now);
        }
    }

    /// Removes the users that no call was about within the last second.
    pub(super) fn prune(&mut self, now: Instant) {
        self.users.retain(|_, window| !window.is_empty(now));
    }

    /// Removes a user, or returns when it may be removed.
    pub(super) fn forget(&mut self, user: &Key, now: Instant) -> Option<Instant> {
        let empty_at = self.users.get(user)?.empty_at().filter(|empty_at| *empty_at > now);
        if empty_at.is_none() {
            self.users.remove(user);
        }
        empty_at
    }

    pub(super) fn allowance(&mut self, category: QuotaCategory) -> &mut Allowance {
        match category {
            QuotaCategory::GroupReads => &mut self.group_reads,
            QuotaCategory::Lists => &mut self.lists,
            QuotaCategory::UserReads => &mut self.user_reads,
        }
    }
}

// Cognito's quota of reads of one user (developer guide, "Quotas in Amazon Cognito"); it cannot be
// raised.
pub(super) const READS_OF_ONE_USER: usize = 10;
// AdminGetUser takes some tens of milliseconds; with less time left the caller would not see its
// answer.
pub(super) const CALL_TIME: Duration = Duration::from_millis(100);
