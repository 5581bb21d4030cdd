//! The rate limit on calls to Cognito, one for each account and Region: every call waits for its
//! turn first, or is not made.

mod aimd;
mod allowance;
mod answers;
mod asks;
mod beyond_quota;
mod categories;
mod category;
mod pace;
mod queue;
mod retry_budget;
mod schedule;
mod shared;
mod sliding_log;
mod state;
mod ticket;
mod turns;
mod worst_case;

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep_until, timeout_at},
};
use tracing::{info, warn};

pub use self::beyond_quota::rates_beyond_quota;
pub(super) use self::{
    category::QuotaCategory,
    queue::FetchId,
    state::{CALL_TIME, LEAST_TIME},
    ticket::Ticket,
};
use self::{shared::Scope, state::LimiterState};
use super::{Failure, cache::Key};
use crate::{
    config::BudgetSettings,
    policy::CallerRateLimit,
    shared_cache::rate_limit::SharedRateLimit,
    telemetry::metrics::{
        Metrics,
        upstream::{BudgetLabels, LimitScope, UpstreamMetrics},
    },
};

/// The rate limit of one account and Region, shared by its pools.
///
/// A category has no more calls in its [sliding log](sliding_log) than its rate. When it has room,
/// the next call is that of the caller with the fewest calls in the log.
#[derive(Debug)]
pub(super) struct RateLimiter {
    state: Mutex<LimiterState>,
    /// Wakes the task that begins waiting calls.
    queued: Arc<Notify>,
    /// The log of all replicas; none if the rate is of this process alone.
    store: Option<SharedRateLimit>,
    metrics: UpstreamMetrics,
}

/// What waits for a call.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Priority {
    /// No caller, so the call may use half of the rate and begins at once or not at all.
    Background,
    /// A request about many users.
    Batch,
    /// A request about one user. It comes before the batches of the same caller.
    Single,
}

/// The account that a fetch is on: whose turn its calls wait for, and whose limit they use up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Account {
    pub(super) priority: Priority,
    pub(super) caller_limit: CallerRateLimit,
}

/// What a call is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum CallKind {
    /// The first call of a fetch.
    First,
    /// A follow-up call of the same fetch. It is charged to the caller's own limit but does not
    /// wait for it; otherwise a fetch of several calls could starve under a low limit.
    FollowUp,
    /// Repeats a failed call. A tenth of all calls may be. It is not charged to the caller's own
    /// limit.
    Retry,
}

impl Account {
    /// Returns the number of the caller.
    pub(super) fn caller(self) -> usize {
        self.caller_limit.caller
    }

    /// Returns the caller and its own limit. A refresh is no caller's miss, so it has none.
    fn own_limit(self) -> Option<(usize, usize)> {
        let limit = self.caller_limit.misses_per_second.filter(|_| self.priority != Priority::Background);
        Some((self.caller(), limit?))
    }
}

impl RateLimiter {
    /// Makes a limiter with the configured rates, or else with 80 % of Cognito's default quotas.
    pub(super) fn new(settings: &BudgetSettings, metrics: &UpstreamMetrics) -> Self {
        for category in QuotaCategory::ALL {
            metrics.prepare(category.as_str(), category.operation());
        }
        let state = Mutex::new(LimiterState::new(settings));
        Self { state, queued: Arc::default(), store: None, metrics: metrics.clone() }
    }

    /// As [`new`](Self::new), with rates that are those of all replicas together, whose log is in
    /// `store`. Must be called in the runtime that calls Cognito. Its task ends with the limiter.
    pub(super) fn shared(
        settings: &BudgetSettings,
        store: SharedRateLimit,
        metrics: &UpstreamMetrics,
    ) -> Arc<Self> {
        let limiter = Self { store: Some(store.clone()), ..Self::new(settings, metrics) };
        limiter.state().share(store.replicas_at_most(), Instant::now());
        let limiter = Arc::new(limiter);
        #[expect(clippy::disallowed_methods, reason = "ends with the limiter")]
        tokio::spawn(shared::drive(Arc::downgrade(&limiter), store));
        limiter
    }

    /// Returns the ticket of a fetch of `user`, for as long as the fetch takes.
    pub(super) fn open(self: &Arc<Self>, id: FetchId, account: Account, user: Key) -> Ticket {
        let woken = Arc::new(Notify::new());
        self.state().open(id, account, user, Arc::clone(&woken), Instant::now());
        Ticket { limiter: Arc::clone(self), id, woken }
    }

    /// Lets another request wait for a fetch in flight. Returns when the call that the fetch waits
    /// for is expected to begin; none if it waits for none. The fetch goes over to `account` if it
    /// would begin earlier there, so that no caller's limit delays another caller.
    pub(super) fn join(&self, id: FetchId, account: Account, deadline: Instant) -> Option<Instant> {
        let expected_at = self.state().join(id, account, deadline, Instant::now());
        self.queued.notify_one();
        expected_at
    }

    fn queue(
        self: &Arc<Self>,
        id: FetchId,
        category: QuotaCategory,
        kind: CallKind,
        deadline: Instant,
    ) -> Result<(), Failure> {
        let mut state = self.state();
        if let (Some(gate), Some(store)) = (&mut state.shared, &self.store) {
            gate.set_available(store.is_available());
        }
        let queued = state.queue(id, category, kind, deadline, Instant::now());
        match queued {
            // A retry beyond a tenth of all calls, which no rate refuses.
            Err(Failure::Unavailable) => {}
            Err(_) => self.metrics.count_refusal(category.as_str()),
            // The task that calls the store begins it.
            Ok(()) if self.store.is_some() => self.queued.notify_one(),
            Ok(()) if state.waits_in(id).is_none() => {}
            Ok(()) if mem::replace(&mut state.is_driven, true) => self.queued.notify_one(),
            Ok(()) => {
                #[expect(clippy::disallowed_methods, reason = "ends when no call waits")]
                tokio::spawn(Arc::clone(self).drive());
            }
        }
        queued
    }

    /// Begins waiting calls when their turn comes, until none waits.
    async fn drive(self: Arc<Self>) {
        loop {
            let turn = self.state().dispatch_all(Instant::now());
            let Some(turn) = turn else { return };
            drop(timeout_at(turn, self.queued.notified()).await);
        }
    }

    /// Lets the store know that calls have ended.
    fn ended(&self) {
        if self.store.is_some() {
            self.queued.notify_one();
        }
    }

    fn waits_until(&self, id: FetchId) -> Result<Option<Instant>, Failure> {
        let mut state = self.state();
        let category = state.waits_in(id);
        let waits = state.waits_until(id, Instant::now());
        if let (Err(_), Some(category)) = (waits, category) {
            self.metrics.count_refusal(category.as_str());
        }
        waits
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
        let scope_of = (account.to_owned(), region.to_owned());
        metrics.scrape_callbacks.add(move || {
            let Some(limiter) = limiter.upgrade() else { return };
            for (category, of) in &all {
                let (left, allowed) = limiter.state().left(*category, Instant::now());
                upstream.set_budget(of, left, allowed);
            }
            upstream.set_budget_scope(&scope_of, limiter.scope());
        });
    }

    /// Slows down after Cognito throttled a call.
    pub(super) fn throttled(&self, category: QuotaCategory) {
        let mut state = self.state();
        let cut = state.categories.get_mut(category).allowance.aimd.throttled(Instant::now());
        if let Some(gate) = &mut state.shared {
            gate.tell_throttled(category);
            self.queued.notify_one();
        }
        if cut {
            warn!(
                quota.category = category.as_str(),
                "Cognito throttles; the rate of calls is halved and recovers within seconds"
            );
        }
    }

    /// Follows the quota that Cognito reports, in calls a second.
    pub(super) fn report_quota(&self, category: QuotaCategory, quota: usize) {
        let mut state = self.state();
        let allowance = &mut state.categories.get_mut(category).allowance;
        allowance.report_quota(quota);
        let (per_second, worst_case) = (allowance.per_second(), allowance.worst_case());
        if let Some(gate) = &mut state.shared {
            gate.tell_quota(category, quota);
            self.queued.notify_one();
        }
        info!(
            quota.category = category.as_str(),
            quota, per_second, "the rate limit follows Cognito's quota"
        );
        if let Some(worst_case) = worst_case.filter(|worst_case| worst_case.exceeds_quota()) {
            warn!(
                quota.category = category.as_str(),
                quota, %worst_case, "all replicas together may exceed Cognito's quota while the shared cache fails"
            );
        }
    }

    fn scope(&self) -> LimitScope {
        let scope = self.state().shared.as_ref().map(|gate| gate.scope(Instant::now()));
        scope.map_or(LimitScope::Own, |scope| match scope {
            Scope::CutOff => LimitScope::CutOff,
            Scope::Shared => LimitScope::Shared,
            Scope::Warm => LimitScope::Warm,
        })
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
        QuotaCategory::ALL.map(|category| self.state().categories.get(category).allowance.per_second())
    }

    fn state(&self) -> MutexGuard<'_, LimiterState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
