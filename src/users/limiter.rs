//! The rate limit on calls to Cognito, one for each account and Region: every call acquires it
//! first, or is not made.

mod aimd;
mod allowance;
mod category;
mod retry_budget;
mod state;
mod window;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

pub(super) use self::category::QuotaCategory;
use self::state::LimiterState;
use super::{Failure, cache::Key};
use crate::{
    config::BudgetSettings,
    policy::CallerRateLimit,
    telemetry::metrics::{
        Metrics,
        upstream::{BudgetLabels, UpstreamMetrics},
    },
};

/// The rate limit of one account and Region, shared by its pools.
#[derive(Debug)]
pub(super) struct RateLimiter {
    state: Mutex<LimiterState>,
    metrics: UpstreamMetrics,
}

/// Whether a caller waits for the call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Priority {
    /// No caller waits, so the call may use half of the rate and starts at once or not at all.
    Background,
    /// A caller waits.
    Foreground,
}

/// What a call needs from the rate limit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Acquire<'a> {
    pub(super) category: QuotaCategory,
    /// The user that the call is about: Cognito allows 10 reads of one user a second.
    pub(super) user: &'a Key,
    pub(super) priority: Priority,
    /// The limit of the caller; none if the call is not a caller's miss, or the caller has no
    /// limit.
    pub(super) caller_limit: Option<&'a CallerRateLimit>,
    /// A follow-up call of the same fetch. It is charged to the caller's limit but does not wait
    /// for it; otherwise a fetch of several calls could starve under a low limit.
    pub(super) is_continuation: bool,
}

impl RateLimiter {
    /// Makes a limiter with the configured rates, or else with 80 % of Cognito's default quotas.
    pub(super) fn new(settings: &BudgetSettings, metrics: &UpstreamMetrics) -> Self {
        for category in QuotaCategory::ALL {
            metrics.prepare(category.as_str(), category.operation());
        }
        Self { state: Mutex::new(LimiterState::new(settings)), metrics: metrics.clone() }
    }

    /// Reserves a call and returns when it starts. Fails at once if that leaves too little time
    /// before `deadline`.
    pub(super) fn reserve(&self, acquire: &Acquire<'_>, deadline: Instant) -> Result<Instant, Failure> {
        let mut state = self.state();
        let reserved = state.reserve(acquire, Instant::now(), deadline);
        match reserved {
            Ok(_) => state.retry_budget.earn(),
            Err(_) => self.metrics.count_refusal(acquire.category.as_str()),
        }
        reserved
    }

    /// As [`reserve`](Self::reserve), for a call that failed and is repeated now: a tenth of all
    /// calls may be.
    pub(super) fn reserve_retry(&self, acquire: &Acquire<'_>) -> Result<Instant, Failure> {
        let (mut state, now) = (self.state(), Instant::now());
        if !state.retry_budget.spend() {
            return Err(Failure::Unavailable);
        }
        state.reserve(acquire, now, now)
    }

    /// Removes the users without a call in the last second. Scans all of them.
    pub(super) fn prune(&self) {
        self.state().prune(Instant::now());
    }

    /// Removes a user once no call was made about it within the last second. Earlier removal would
    /// allow more calls about it than Cognito does.
    pub(super) async fn forget(self: Arc<Self>, user: Key) {
        loop {
            let empty_at = self.state().forget(&user, Instant::now());
            let Some(empty_at) = empty_at else { return };
            sleep_until(empty_at).await;
        }
    }

    /// Exports the remaining rate at every scrape, with the labels `account` and `region`.
    pub(super) fn export(self: &Arc<Self>, account: &str, region: &str, metrics: &Metrics) {
        let (limiter, upstream) = (Arc::downgrade(self), metrics.upstream.clone());
        let all = QuotaCategory::ALL.map(|category| {
            let (account, region) = (account.to_owned(), region.to_owned());
            (category, BudgetLabels { account, region, category: category.as_str() })
        });
        metrics.scrape_callbacks.add(move || {
            let Some(limiter) = limiter.upgrade() else { return };
            for (category, of) in &all {
                let (left, allowed) = limiter.state().allowance(*category).left(Instant::now());
                upstream.set_budget(of, left, allowed);
            }
        });
    }

    /// Slows down after Cognito throttled a call.
    pub(super) fn throttled(&self, category: QuotaCategory) {
        if self.state().allowance(category).aimd.throttled(Instant::now()) {
            warn!(
                quota.category = category.as_str(),
                "Cognito throttles; the rate of calls is halved and recovers within seconds"
            );
        }
    }

    /// Follows the quota that Cognito reports, in calls a second.
    pub(super) fn report_quota(&self, category: QuotaCategory, quota: usize) {
        let mut state = self.state();
        let allowance = state.allowance(category);
        allowance.report_quota(quota);
        let per_second = allowance.per_second();
        info!(
            quota.category = category.as_str(),
            quota, per_second, "the rate limit follows Cognito's quota"
        );
    }

    #[cfg(test)]
    pub(super) fn locked(&self) -> impl Sized + '_ {
        self.state()
    }

    #[cfg(test)]
    pub(super) fn knows(&self, user: &Key) -> bool {
        self.state().users.contains_key(user)
    }

    #[cfg(test)]
    pub(super) fn rates(&self) -> [usize; 3] {
        QuotaCategory::ALL.map(|category| self.state().allowance(category).per_second())
    }

    fn state(&self) -> MutexGuard<'_, LimiterState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
