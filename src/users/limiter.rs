//! What we allow ourselves to ask Cognito, by account and Region: every call takes a token first, or is not made.

mod window;
mod aimd;
mod retry_budget;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use self::{aimd::Aimd, retry_budget::RetryBudget, window::SlidingWindow};
use super::{Failure, store::Key};
use crate::{
    config::BudgetSettings,
    policy::CallerRateLimit,
    telemetry::metrics::{
        Metrics,
        upstream::{BudgetLabels, UpstreamMetrics},
    },
};

/// The limiter of one account and Region, shared by its pools.
#[derive(Debug)]
pub(super) struct RateLimiter {
    state: Mutex<LimiterState>,
    metrics: UpstreamMetrics,
}

/// Cognito's quota categories that our calls fall in (developer guide, "Quotas in Amazon Cognito").
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum QuotaCategory {
    /// `UserResourceRead`: `AdminListGroupsForUser`.
    GroupReads,
    /// `UserList`: `ListUsers`.
    Lists,
    /// `UserRead`: `AdminGetUser`.
    UserReads,
}

/// Whether somebody waits for what is asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Priority {
    /// Nobody does, so half of the tokens are out of reach, and there is no waiting.
    Background,
    /// Somebody does.
    Foreground,
}

/// What a call would take a token for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Acquire<'a> {
    pub(super) category: QuotaCategory,
    /// About whom: Cognito takes 10 reads of one user a second.
    pub(super) user: &'a Key,
    pub(super) priority: Priority,
    /// What the caller may have fetched; none if the call is not a caller's miss, or the caller has no bound of its own.
    pub(super) caller_limit: Option<&'a CallerRateLimit>,
    /// Whether a call was made for it before: then it does not wait for the caller's share, which it takes all the same,
    /// from what comes later. Else what takes many calls would never come to an end for who may have few.
    pub(super) is_continuation: bool,
}

impl RateLimiter {
    /// Makes a full limiter with the rates that are set, or else with 80 % of Cognito's default quotas.
    pub(super) fn new(settings: &BudgetSettings, metrics: &UpstreamMetrics) -> Self {
        for category in QuotaCategory::ALL {
            metrics.prepare(category.as_str(), category.operation());
        }
        let state = LimiterState {
            group_reads: Quota::new(settings.group_reads_per_second, 40),
            lists: Quota::new(settings.lists_per_second, 24),
            user_reads: Quota::new(settings.user_reads_per_second, 96),
            users: HashMap::new(),
            callers: HashMap::new(),
            retries: RetryBudget::default(),
        };
        Self { state: Mutex::new(state), metrics: metrics.clone() }
    }

    /// Takes a token and returns when to make the call, or says at once that there will be none in time for `by`.
    pub(super) fn reserve(&self, acquire: &Acquire<'_>, by: Instant) -> Result<Instant, Failure> {
        let mut state = self.state();
        let reserved = state.reserve(acquire, Instant::now(), by);
        match reserved {
            Ok(_) => state.retries.earn(),
            Err(_) => self.metrics.count_refusal(acquire.category.as_str()),
        }
        reserved
    }

    /// As [`book`](Self::book), for a call that failed and is made again now, which a tenth of all calls may be.
    pub(super) fn reserve_retry(&self, acquire: &Acquire<'_>) -> Result<Instant, Failure> {
        let (mut state, now) = (self.state(), Instant::now());
        if !state.retries.spend() {
            return Err(Failure::Unavailable);
        }
        state.reserve(acquire, now, now)
    }

    /// Forgets the users about whom nothing was asked within a second; looks at all of them.
    pub(super) fn prune(&self) {
        self.state().prune(Instant::now());
    }

    /// Forgets a user as soon as nothing was asked about it within a second: no earlier, or Cognito would be asked more
    /// often than it takes.
    pub(super) async fn forget(self: Arc<Self>, user: Key) {
        loop {
            let full_at = self.state().forget(&user, Instant::now());
            let Some(full_at) = full_at else { return };
            sleep_until(full_at).await;
        }
    }

    /// Shows what is left of it, whenever the metrics are written, as that of `account` in `region`.
    pub(super) fn show(self: &Arc<Self>, account: &str, region: &str, metrics: &Metrics) {
        let (limiter, upstream) = (Arc::downgrade(self), metrics.upstream.clone());
        let all = QuotaCategory::ALL.map(|category| {
            let (account, region) = (account.to_owned(), region.to_owned());
            (category, BudgetLabels { account, region, category: category.as_str() })
        });
        metrics.scrape_callbacks.add(move || {
            let Some(limiter) = limiter.upgrade() else { return };
            for (category, of) in &all {
                let (left, allowed) = limiter.state().quota(*category).left(Instant::now());
                upstream.set_budget(of, left, allowed);
            }
        });
    }

    /// Returns where its calls are counted.
    pub(super) fn metrics(&self) -> &UpstreamMetrics {
        &self.metrics
    }

    /// Slows down, for Cognito throttled a call.
    pub(super) fn throttled(&self, category: QuotaCategory) {
        if self.state().quota(category).aimd.throttled(Instant::now()) {
            warn!(quota.category = category.as_str(), "Cognito throttles: half as many calls for a while");
        }
    }

    /// Takes 80 % of what Cognito says it allows, unless a rate is set.
    pub(super) fn seed(&self, category: QuotaCategory, allowed_per_second: usize) {
        let mut state = self.state();
        let quota = state.quota(category);
        if !quota.is_set {
            quota.per_second = allowed_per_second.saturating_mul(4) / 5;
            let per_second = quota.per_second;
            info!(quota.category = category.as_str(), per_second, "the limiter follows Cognito's quota");
        }
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
        QuotaCategory::ALL.map(|category| self.state().quota(category).per_second)
    }

    fn state(&self) -> MutexGuard<'_, LimiterState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl QuotaCategory {
    /// Every one of them.
    pub(super) const ALL: [Self; 3] = [Self::UserReads, Self::Lists, Self::GroupReads];

    /// Returns the operation that it pays for.
    pub(super) fn operation(self) -> &'static str {
        match self {
            Self::GroupReads => "AdminListGroupsForUser",
            Self::Lists => "ListUsers",
            Self::UserReads => "AdminGetUser",
        }
    }

    /// Returns Cognito's name for it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::GroupReads => "UserResourceRead",
            Self::Lists => "UserList",
            Self::UserReads => "UserRead",
        }
    }
}

/// All that was taken; what it decides follows from that and the time given.
#[derive(Debug)]
struct LimiterState {
    group_reads: Quota,
    lists: Quota,
    user_reads: Quota,
    /// Of those about whom something was asked a second ago or later.
    users: HashMap<Key, SlidingWindow>,
    callers: HashMap<Arc<str>, SlidingWindow>,
    retries: RetryBudget,
}

impl LimiterState {
    fn reserve(&mut self, acquire: &Acquire<'_>, now: Instant, by: Instant) -> Result<Instant, Failure> {
        let at = self.next(acquire, now);
        if at > now {
            // Where Cognito has slowed us down, it is Cognito that cannot answer, and waiting brings little.
            if self.quota(acquire.category).is_slow(acquire.priority, now) {
                return Err(Failure::Throttled);
            }
            // With too little time left for the call itself nobody would see its answer.
            if at + CALL > by {
                return Err(Failure::BudgetExhausted(at - now));
            }
        }
        self.take(acquire, at, now);
        Ok(at)
    }

    /// Returns the earliest time when the category, the user and the caller have a token all three.
    fn next(&mut self, acquire: &Acquire<'_>, now: Instant) -> Instant {
        let size = self.quota(acquire.category).size(acquire.priority, now);
        let mut at = now;
        loop {
            let mut later = self.quota(acquire.category).window.next(size, at);
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
        self.quota(acquire.category).window.take(at, now);
        // Before it would grow, so that it holds about as many as one second's calls.
        if self.users.len() == self.users.capacity() {
            self.prune(now);
        }
        self.users.entry(acquire.user.clone()).or_default().take(at, now);
        if let Some(caller_limit) = acquire.caller_limit {
            let caller = self.callers.entry(Arc::clone(&caller_limit.caller)).or_default();
            caller.take(caller.next(caller_limit.misses_per_second, at), now);
        }
    }

    fn prune(&mut self, now: Instant) {
        self.users.retain(|_, window| !window.is_full(now));
    }

    /// Forgets a user, or returns when it may be forgotten.
    fn forget(&mut self, user: &Key, now: Instant) -> Option<Instant> {
        let full_at = self.users.get(user)?.full_at().filter(|full_at| *full_at > now);
        if full_at.is_none() {
            self.users.remove(user);
        }
        full_at
    }

    fn quota(&mut self, category: QuotaCategory) -> &mut Quota {
        match category {
            QuotaCategory::GroupReads => &mut self.group_reads,
            QuotaCategory::Lists => &mut self.lists,
            QuotaCategory::UserReads => &mut self.user_reads,
        }
    }
}

/// One category's tokens.
#[derive(Debug, Default)]
struct Quota {
    per_second: usize,
    /// Whether that is what the settings say.
    is_set: bool,
    aimd: Aimd,
    window: SlidingWindow,
}

impl Quota {
    fn new(set: Option<usize>, default: usize) -> Self {
        Self { per_second: set.unwrap_or(default), is_set: set.is_some(), ..Self::default() }
    }

    /// How many tokens there are for `priority`, at least one.
    fn size(&self, priority: Priority, now: Instant) -> usize {
        let size = (self.per_second as f64 * self.aimd.share(now)) as usize;
        match priority {
            Priority::Background => (size / 2).max(1),
            Priority::Foreground => size.max(1),
        }
    }

    /// Returns how many tokens somebody who waits finds at once, and how many there are.
    fn left(&self, now: Instant) -> (usize, usize) {
        let size = self.size(Priority::Foreground, now);
        (size.saturating_sub(self.window.taken(now)), size)
    }

    /// Returns true if and only if there is no token at once, and a cut of the aimd may be why.
    fn is_slow(&self, priority: Priority, now: Instant) -> bool {
        self.aimd.share(now) < 1.0 && self.window.next(self.size(priority, now), now) > now
    }
}

// Cognito's quota of reads of one user (developer guide, "Quotas in Amazon Cognito"), which nothing raises.
const READS_OF_ONE_USER: usize = 10;
// AdminGetUser takes some tens of milliseconds.
const CALL: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests;
