//! What we allow ourselves to ask Cognito, by account and Region: every call takes a token first, or is not made.

mod bucket;
mod pace;
mod retries;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use self::{bucket::Bucket, pace::Pace, retries::Retries};
use super::{Failure, store::Key};
use crate::{
    config::BudgetSettings,
    policy::Share,
    telemetry::metrics::{
        Metrics,
        upstream::{OfBudget, Upstream},
    },
};

/// The budget of one account and Region, shared by its pools.
#[derive(Debug)]
pub(super) struct Budget {
    ledger: Mutex<Ledger>,
    metrics: Upstream,
}

/// Cognito's quota categories that our calls fall in (developer guide, "Quotas in Amazon Cognito").
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Category {
    /// `UserResourceRead`: `AdminListGroupsForUser`.
    GroupReads,
    /// `UserList`: `ListUsers`.
    Lists,
    /// `UserRead`: `AdminGetUser`.
    UserReads,
}

/// Whether somebody waits for what is asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Lane {
    /// Nobody does, so half of the tokens are out of reach, and there is no waiting.
    Background,
    /// Somebody does.
    Foreground,
}

/// What a call would take a token for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim<'a> {
    pub(super) category: Category,
    /// About whom: Cognito takes 10 reads of one user a second.
    pub(super) user: &'a Key,
    pub(super) lane: Lane,
    /// What the caller may have fetched; none if the call is not a caller's miss, or the caller has no bound of its own.
    pub(super) share: Option<&'a Share>,
    /// Whether a call was made for it before: then it does not wait for the caller's share, which it takes all the same,
    /// from what comes later. Else what takes many calls would never come to an end for who may have few.
    pub(super) is_begun: bool,
}

impl Budget {
    /// Makes a full budget with the rates that are set, or else with 80 % of Cognito's default quotas.
    pub(super) fn new(settings: &BudgetSettings, metrics: &Upstream) -> Self {
        for category in Category::ALL {
            metrics.prepare(category.as_str(), category.operation());
        }
        let ledger = Ledger {
            group_reads: Quota::new(settings.group_reads_per_second, 40),
            lists: Quota::new(settings.lists_per_second, 24),
            user_reads: Quota::new(settings.user_reads_per_second, 96),
            users: HashMap::new(),
            callers: HashMap::new(),
            retries: Retries::default(),
        };
        Self { ledger: Mutex::new(ledger), metrics: metrics.clone() }
    }

    /// Takes a token and returns when to make the call, or says at once that there will be none in time for `by`.
    pub(super) fn book(&self, claim: &Claim<'_>, by: Instant) -> Result<Instant, Failure> {
        let mut ledger = self.ledger();
        let booked = ledger.book(claim, Instant::now(), by);
        match booked {
            Ok(_) => ledger.retries.earn(),
            Err(_) => self.metrics.refused(claim.category.as_str()),
        }
        booked
    }

    /// As [`book`](Self::book), for a call that failed and is made again now, which a tenth of all calls may be.
    pub(super) fn book_retry(&self, claim: &Claim<'_>) -> Result<Instant, Failure> {
        let (mut ledger, now) = (self.ledger(), Instant::now());
        if !ledger.retries.spend() {
            return Err(Failure::Unavailable);
        }
        ledger.book(claim, now, now)
    }

    /// Forgets the users about whom nothing was asked within a second; looks at all of them.
    pub(super) fn prune(&self) {
        self.ledger().prune(Instant::now());
    }

    /// Forgets a user as soon as nothing was asked about it within a second: no earlier, or Cognito would be asked more
    /// often than it takes.
    pub(super) async fn forget(self: Arc<Self>, user: Key) {
        loop {
            let full_at = self.ledger().forget(&user, Instant::now());
            let Some(full_at) = full_at else { return };
            sleep_until(full_at).await;
        }
    }

    /// Shows what is left of it, whenever the metrics are written, as that of `account` in `region`.
    pub(super) fn show(self: &Arc<Self>, account: &str, region: &str, metrics: &Metrics) {
        let (budget, upstream) = (Arc::downgrade(self), metrics.upstream.clone());
        let all = Category::ALL.map(|category| {
            let (account, region) = (account.to_owned(), region.to_owned());
            (category, OfBudget { account, region, category: category.as_str() })
        });
        metrics.readings.add(move || {
            let Some(budget) = budget.upgrade() else { return };
            for (category, of) in &all {
                let (left, allowed) = budget.ledger().quota(*category).left(Instant::now());
                upstream.show(of, left, allowed);
            }
        });
    }

    /// Returns where its calls are counted.
    pub(super) fn metrics(&self) -> &Upstream {
        &self.metrics
    }

    /// Slows down, for Cognito throttled a call.
    pub(super) fn throttled(&self, category: Category) {
        if self.ledger().quota(category).pace.throttled(Instant::now()) {
            warn!(quota.category = category.as_str(), "Cognito throttles: half as many calls for a while");
        }
    }

    /// Takes 80 % of what Cognito says it allows, unless a rate is set.
    pub(super) fn seed(&self, category: Category, allowed_per_second: usize) {
        let mut ledger = self.ledger();
        let quota = ledger.quota(category);
        if !quota.is_set {
            quota.per_second = allowed_per_second.saturating_mul(4) / 5;
            let per_second = quota.per_second;
            info!(quota.category = category.as_str(), per_second, "the budget follows Cognito's quota");
        }
    }

    #[cfg(test)]
    pub(super) fn locked(&self) -> impl Sized + '_ {
        self.ledger()
    }

    #[cfg(test)]
    pub(super) fn knows(&self, user: &Key) -> bool {
        self.ledger().users.contains_key(user)
    }

    #[cfg(test)]
    pub(super) fn rates(&self) -> [usize; 3] {
        Category::ALL.map(|category| self.ledger().quota(category).per_second)
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Category {
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
struct Ledger {
    group_reads: Quota,
    lists: Quota,
    user_reads: Quota,
    /// Of those about whom something was asked a second ago or later.
    users: HashMap<Key, Bucket>,
    callers: HashMap<Arc<str>, Bucket>,
    retries: Retries,
}

impl Ledger {
    fn book(&mut self, claim: &Claim<'_>, now: Instant, by: Instant) -> Result<Instant, Failure> {
        let at = self.next(claim, now);
        if at > now {
            // Where Cognito has slowed us down, it is Cognito that cannot answer, and waiting brings little.
            if self.quota(claim.category).is_slow(claim.lane, now) {
                return Err(Failure::Throttled);
            }
            // With too little time left for the call itself nobody would see its answer.
            if at + CALL > by {
                return Err(Failure::OverBudget(at - now));
            }
        }
        self.take(claim, at, now);
        Ok(at)
    }

    /// Returns the earliest time when the category, the user and the caller have a token all three.
    fn next(&mut self, claim: &Claim<'_>, now: Instant) -> Instant {
        let size = self.quota(claim.category).size(claim.lane, now);
        let mut at = now;
        loop {
            let mut later = self.quota(claim.category).bucket.next(size, at);
            if let Some(user) = self.users.get(claim.user) {
                later = user.next(READS_OF_ONE_USER, later);
            }
            if let Some(share) = claim.share.filter(|_| !claim.is_begun)
                && let Some(caller) = self.callers.get(&share.caller)
            {
                later = caller.next(share.misses_per_second, later);
            }
            if later == at {
                return at;
            }
            at = later;
        }
    }

    fn take(&mut self, claim: &Claim<'_>, at: Instant, now: Instant) {
        self.quota(claim.category).bucket.take(at, now);
        // Before it would grow, so that it holds about as many as one second's calls.
        if self.users.len() == self.users.capacity() {
            self.prune(now);
        }
        self.users.entry(claim.user.clone()).or_default().take(at, now);
        if let Some(share) = claim.share {
            let caller = self.callers.entry(Arc::clone(&share.caller)).or_default();
            caller.take(caller.next(share.misses_per_second, at), now);
        }
    }

    fn prune(&mut self, now: Instant) {
        self.users.retain(|_, bucket| !bucket.is_full(now));
    }

    /// Forgets a user, or returns when it may be forgotten.
    fn forget(&mut self, user: &Key, now: Instant) -> Option<Instant> {
        let full_at = self.users.get(user)?.full_at().filter(|full_at| *full_at > now);
        if full_at.is_none() {
            self.users.remove(user);
        }
        full_at
    }

    fn quota(&mut self, category: Category) -> &mut Quota {
        match category {
            Category::GroupReads => &mut self.group_reads,
            Category::Lists => &mut self.lists,
            Category::UserReads => &mut self.user_reads,
        }
    }
}

/// One category's tokens.
#[derive(Debug, Default)]
struct Quota {
    per_second: usize,
    /// Whether that is what the settings say.
    is_set: bool,
    pace: Pace,
    bucket: Bucket,
}

impl Quota {
    fn new(set: Option<usize>, default: usize) -> Self {
        Self { per_second: set.unwrap_or(default), is_set: set.is_some(), ..Self::default() }
    }

    /// How many tokens there are for `lane`, at least one.
    fn size(&self, lane: Lane, now: Instant) -> usize {
        let size = (self.per_second as f64 * self.pace.share(now)) as usize;
        match lane {
            Lane::Background => (size / 2).max(1),
            Lane::Foreground => size.max(1),
        }
    }

    /// Returns how many tokens somebody who waits finds at once, and how many there are.
    fn left(&self, now: Instant) -> (usize, usize) {
        let size = self.size(Lane::Foreground, now);
        (size.saturating_sub(self.bucket.taken(now)), size)
    }

    /// Returns true if and only if there is no token at once, and a cut of the pace may be why.
    fn is_slow(&self, lane: Lane, now: Instant) -> bool {
        self.pace.share(now) < 1.0 && self.bucket.next(self.size(lane, now), now) > now
    }
}

// Cognito's quota of reads of one user (developer guide, "Quotas in Amazon Cognito"), which nothing raises.
const READS_OF_ONE_USER: usize = 10;
// AdminGetUser takes some tens of milliseconds.
const CALL: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests;
