//! Finds the user a [`Permit`] names, fresh enough for its demand: from the cache, or by a fetch shared by all who wait.

mod limiter;
mod cognito;
mod epochs;
mod fence;
mod flight;
mod found;
mod admin;
#[cfg(test)]
mod model;
mod entry;
mod store;

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};

use futures_util::future::join_all;
use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep, sleep_until, timeout_at},
};
use tracing::error;

pub use self::{
    admin::{EntryInfo, EntryState, Erased},
    found::{Failure, Found},
};
use self::{
    cognito::{Attribution, Cognito},
    entry::{CacheEntry, Content, Decision, LookupMethod, Ttls},
    epochs::{Epoch, InvalidationEpochs},
    flight::{FetchError, FetchResult, Reservation, SingleFlight},
    found::Answer,
    limiter::{Acquire, Priority, QuotaCategory, RateLimiter},
    store::{EntryKind, Key, UserCache},
};
use crate::{
    config::{BudgetSettings, CacheSettings},
    freshness::{Demand, Source, StaleReason, TimePoint},
    policy::{CallerRateLimit, LookupKey, Permit, Subject},
    pool::{PoolId, Pools},
    telemetry::metrics::{
        Metrics,
        cache::{CacheMetrics, LookupOutcome, PendingLookup},
    },
    user::{User, Username},
};

/// The users of the configured pools: what is held of them, and the way to ask for more; cheap to clone.
#[derive(Clone, Debug)]
pub struct Users(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    cognito: HashMap<PoolId, Cognito>,
    epochs: InvalidationEpochs,
    single_flight: SingleFlight,
    ttls: Ttls,
    cache: UserCache,
    cache_metrics: CacheMetrics,
}

impl Users {
    /// Prepares to ask every pool's Cognito, with credentials of the usual AWS chain, and begins to ask what it allows.
    /// The runtime this is called in is the one on which Cognito will be method.
    pub async fn connect(
        pools: &Pools,
        cache: &CacheSettings,
        budget: &BudgetSettings,
        metrics: &Metrics,
    ) -> Self {
        let (mut cognito, mut budgets) = (HashMap::new(), HashMap::new());
        for pool in pools.iter() {
            let attribution = (pool.account.as_deref(), pool.region.as_str());
            let known = budgets.get(&attribution).map(Arc::clone);
            let budget =
                known.clone().unwrap_or_else(|| Arc::new(RateLimiter::new(budget, &metrics.upstream)));
            let one = Cognito::connect(Arc::clone(pool), Arc::clone(&budget)).await;
            if known.is_none() {
                budget.show(attribution.0.unwrap_or_default(), attribution.1, metrics);
                #[expect(clippy::disallowed_methods, reason = "bounded by the time limits of its calls")]
                tokio::spawn(one.clone().learn_limits());
                budgets.insert(attribution, budget);
            }
            cognito.insert(pool.id.clone(), one);
        }
        let users = Self::new(cognito, cache, budgets.len(), metrics.cache.clone());
        users.0.cache.register_metrics(metrics);
        #[expect(clippy::disallowed_methods, reason = "ends with the users")]
        tokio::spawn(sweep(Arc::downgrade(&users.0)));
        users
    }

    /// Returns when credentials were found for every pool, however long that takes; to be called in the runtime on which
    /// Cognito is method.
    pub async fn ready(&self) {
        join_all(self.0.cognito.values().map(Cognito::ready)).await;
    }

    fn new(
        cognito: HashMap<PoolId, Cognito>,
        cache: &CacheSettings,
        budgets: usize,
        cache_metrics: CacheMetrics,
    ) -> Self {
        let ttls = Ttls { fresh: cache.fresh_for, usable: cache.usable_for, absent: cache.absent_for };
        let cache = UserCache::new(cache.max_bytes, cache.max_absent_bytes, ttls, &cache_metrics);
        let single_flight = SingleFlight::new(MAX_FETCHES * budgets.max(1));
        let epochs = InvalidationEpochs::new();
        Self(Arc::new(Inner { cognito, epochs, single_flight, ttls, cache, cache_metrics }))
    }

    /// Returns the user the permit names, and its groups where the permit seeks them, as fresh as it demands or not at
    /// all; at once where the budget has no call left that begins before `deadline`. Cancel safe: a fetch that is under
    /// way goes on, bounded in time, and what it brings is held.
    pub async fn find(&self, permit: &Permit, deadline: Instant) -> Result<Found, Failure> {
        let request = self.request(permit.subject(), permit.demand(), permit.caller_limit());
        if permit.fetches_groups() {
            Box::pin(self.find_with_groups(&request, deadline)).await
        } else {
            self.find_user(&request, deadline).await
        }
    }

    /// Returns what [`find`](Self::find) would, where that waits for nobody; none where it may, or seeks groups. A lookup is
    /// counted, and a refresh may begin, only where something is returned.
    pub fn find_cached(&self, permit: &Permit) -> Option<Result<Found, Failure>> {
        if permit.fetches_groups() {
            return None;
        }
        let request = self.request(permit.subject(), permit.demand(), permit.caller_limit());
        let CacheLookup::Hit(lookup, answer) = self.look_up(&request) else { return None };
        self.0.cache_metrics.begin_lookup().end(lookup);
        Some(Found::user_of(answer))
    }

    fn request<'a>(
        &self,
        subject: &'a Subject,
        demand: Demand,
        caller_limit: Option<&'a CallerRateLimit>,
    ) -> LookupRequest<'a> {
        let (key, method) = (Key::of(subject), LookupMethod::from(&subject.lookup_key));
        let epoch = self.0.epochs.epoch(&key);
        LookupRequest { subject, key, username_for_groups: None, method, demand, caller_limit, epoch }
    }

    async fn find_user(&self, request: &LookupRequest<'_>, deadline: Instant) -> Result<Found, Failure> {
        Found::user_of(self.answer(request, deadline).await?)
    }

    /// The user first: it has the name by which Cognito tells groups.
    async fn find_with_groups(
        &self,
        request: &LookupRequest<'_>,
        deadline: Instant,
    ) -> Result<Found, Failure> {
        let found = self.find_user(request, deadline).await?;
        let groups = self.answer(&request.for_groups(found.user()), deadline).await?;
        found.with_groups_of(groups, Instant::now())
    }

    async fn answer(&self, request: &LookupRequest<'_>, deadline: Instant) -> Result<Answer, Failure> {
        let method = self.0.cache_metrics.begin_lookup();
        match self.look_up(request) {
            CacheLookup::Hit(lookup, answer) => {
                method.end(lookup);
                Ok(answer)
            }
            // Boxed, so that the future of a hit is no larger for what it never does.
            CacheLookup::Miss => Box::pin(self.fetch_and_wait(request, deadline)).await,
            CacheLookup::Stale => Box::pin(self.fetch_or_stale(request, deadline, method)).await,
        }
    }

    async fn fetch_or_stale(
        &self,
        request: &LookupRequest<'_>,
        deadline: Instant,
        method: PendingLookup<'_>,
    ) -> Result<Answer, Failure> {
        let failure = match self.fetch_briefly(request, deadline).await {
            Ok(answer) => return Ok(answer),
            Err(failure) => failure,
        };
        match failure.stale_reason().map(|reason| self.stale(request, reason)) {
            None => Err(failure),
            Some(Some(answer)) => {
                method.end(LookupOutcome::Stale);
                Ok(answer)
            }
            // It has outlived its use meanwhile, so there is nothing to be brief for any more.
            Some(None) => self.fetch_and_wait(request, deadline).await,
        }
    }

    /// Waits for Cognito, but not long: what is held is of use, and half of the caller's time is left to serve it. Half
    /// of the wait may be for the budget, so that our own queue is not taken for Cognito's failing.
    async fn fetch_briefly(&self, request: &LookupRequest<'_>, deadline: Instant) -> Result<Answer, Failure> {
        let now = Instant::now();
        let patience = BRIEFLY.min(deadline.saturating_duration_since(now) / 2);
        let fetched = timeout_at(now + patience, self.fetch_and_wait(request, now + patience / 2)).await;
        fetched.unwrap_or_else(|_| {
            // For the others, who need not find out one by one; but a short deadline says nothing of Cognito.
            if patience == BRIEFLY {
                self.0.cache.note_failure(&request.key, StaleReason::UpstreamUnavailable);
            }
            Err(Failure::Unavailable)
        })
    }

    /// Waits for Cognito. The fetch that is under way may have begun too early for the demand, or may have method in the
    /// less conclusive way; the one after it did not, unless somebody else's came first.
    async fn fetch_and_wait(&self, request: &LookupRequest<'_>, by: Instant) -> Result<Answer, Failure> {
        // Not what is stale: that would be taken for what a fetch has just brought.
        let landed = || {
            let decision = |held: &CacheEntry| self.decide(request, held, Instant::now());
            let fresh =
                |held: &CacheEntry| matches!(decision(held), Decision::Serve | Decision::ServeAndRefresh);
            self.0.cache.get(&request.key).filter(fresh)
        };
        for _ in 0..MAX_TRIES {
            let reserve = || self.reserve(request, Priority::Foreground, by);
            let fetch =
                |reservation| self.clone().fetch(request.fetch_request(), Priority::Foreground, reservation);
            match self.0.single_flight.join(request.key.clone(), by, landed, reserve, fetch).await {
                Ok(entry) if entry.answers(request.method, request.demand) => {
                    return Ok(Answer::of(&entry, Source::Cognito, None, Instant::now()));
                }
                Err(failed) if failed.is_final_for(request.method) => return Err(failed.failure),
                Ok(_) | Err(_) => {}
            }
        }
        Err(Failure::Unavailable)
    }

    /// Looks at what is held; only a hit here causes a refresh, so that nobody is method for whom nobody asks (a user that
    /// is looked up is a billed one).
    fn look_up(&self, request: &LookupRequest<'_>) -> CacheLookup {
        let (now, latest) = (Instant::now(), self.0.cache.get(&request.key));
        let Some(held) = latest else { return CacheLookup::Miss };
        let (lookup, stale_reason) = match self.decide(request, &held, now) {
            Decision::Fetch => return CacheLookup::Miss,
            Decision::FetchOrStale => return CacheLookup::Stale,
            Decision::Serve if matches!(held.content, Content::Absent(_)) => (LookupOutcome::Absent, None),
            Decision::Serve => (LookupOutcome::Fresh, None),
            Decision::ServeAndRefresh => {
                self.refresh(request);
                (LookupOutcome::Refreshing, None)
            }
            Decision::ServeStale(reason) => (LookupOutcome::Stale, Some(reason)),
        };
        CacheLookup::Hit(lookup, Answer::of(&held, Source::Cache, stale_reason, now))
    }

    /// What is held once more, now that the fetch for it has failed: it may have changed, and gone.
    fn stale(&self, request: &LookupRequest<'_>, reason: StaleReason) -> Option<Answer> {
        let now = Instant::now();
        let held = self.0.cache.get(&request.key)?.failed(now, reason);
        let stale_reason = match self.decide(request, &held, now) {
            Decision::Fetch | Decision::FetchOrStale => return None,
            Decision::Serve | Decision::ServeAndRefresh => None,
            Decision::ServeStale(reason) => Some(reason),
        };
        Some(Answer::of(&held, Source::Cache, stale_reason, now))
    }

    fn refresh(&self, request: &LookupRequest<'_>) {
        let reserve = || self.reserve(request, Priority::Background, Instant::now());
        let fetch =
            |reservation| self.clone().fetch(request.fetch_request(), Priority::Background, reservation);
        if self.0.single_flight.refresh(request.key.clone(), reserve, fetch) {
            self.0.cache_metrics.refreshes.inc();
        }
    }

    fn decide(&self, request: &LookupRequest<'_>, held: &CacheEntry, now: Instant) -> Decision {
        self.0.ttls.decide(held, request.method, request.demand, now)
    }

    fn reserve(
        &self,
        request: &LookupRequest<'_>,
        priority: Priority,
        by: Instant,
    ) -> Result<Reservation, Failure> {
        let cognito = self.cognito(&request.key)?;
        let Attribution { priority, caller_limit } = Attribution::of(priority, request.caller_limit);
        let category = match request.username_for_groups {
            None => cognito.category(&request.subject.lookup_key),
            Some(_) => QuotaCategory::GroupReads,
        };
        let acquire = Acquire {
            category,
            user: &request.key.with_kind(EntryKind::Profile),
            priority,
            caller_limit,
            is_continuation: false,
        };
        let starts_at = cognito.limiter().reserve(&acquire, by)?;
        Ok(Reservation { starts_at, fence: self.0.epochs.fence(&request.key, request.epoch) })
    }

    async fn fetch(self, request: FetchRequest, priority: Priority, reservation: Reservation) -> FetchResult {
        sleep_until(reservation.starts_at).await;
        let began = TimePoint::now();
        let (method, answer) = match &request.username_for_groups {
            None => self.ask(&request, priority).await,
            Some(name) => (LookupMethod::ByUsername, self.fetch_groups(&request, name, priority).await),
        };
        let content = answer.map_err(|failure| {
            reservation.fence.pass(|| self.note(&request.key, failure));
            FetchError { failure, method: Some(method) }
        })?;
        let entry =
            CacheEntry { content, began, failed: None, expired: false, ttl_jitter: fastrand::u8(90..=110) };
        reservation.fence.pass(|| self.0.cache.put(request.key, entry.clone()));
        Ok(entry)
    }

    async fn ask(
        &self,
        request: &FetchRequest,
        priority: Priority,
    ) -> (LookupMethod, Result<Content, Failure>) {
        let (key, lookup_key) = (&request.key, &request.lookup_key);
        let held = self.username(key);
        let cognito = match self.cognito(key) {
            Ok(cognito) => cognito,
            Err(failure) => return (lookup_key.into(), Err(failure)),
        };
        let (method, answer) = cognito
            .fetch_user(
                key,
                lookup_key,
                held.as_ref(),
                Attribution::of(priority, request.caller_limit.as_ref()),
            )
            .await;
        let content = |user: Option<User>| match user {
            None => Content::Absent(method),
            Some(user) => Content::Present(Arc::new(user)),
        };
        (method, answer.map(content))
    }

    async fn fetch_groups(
        &self,
        request: &FetchRequest,
        name: &Username,
        priority: Priority,
    ) -> Result<Content, Failure> {
        let user = request.key.with_kind(EntryKind::Profile);
        let groups = self
            .cognito(&user)?
            .fetch_groups(&user, name, Attribution::of(priority, request.caller_limit.as_ref()))
            .await?;
        groups.map(Content::Groups).ok_or(Failure::NoSuchUser)
    }

    fn note(&self, key: &Key, failure: Failure) {
        match failure.stale_reason() {
            // Ours to say, at no cost, each time anew: others may have more of it.
            Some(StaleReason::BudgetExhausted) => {}
            Some(reason) => self.0.cache.note_failure(key, reason),
            // The name is somebody else's now, or nobody's, so the one that is held is gone.
            None if matches!(failure, Failure::WrongUser | Failure::NoSuchUser) => {
                self.0.cache.remove(&key.with_kind(EntryKind::Profile));
            }
            None => {}
        }
    }

    fn username(&self, key: &Key) -> Option<Username> {
        match self.0.cache.get(key)?.content {
            Content::Absent(_) | Content::Groups(_) => None,
            Content::Present(user) => Some(user.username.clone()),
        }
    }

    fn cognito(&self, key: &Key) -> Result<&Cognito, Failure> {
        self.0.cognito.get(&key.pool).ok_or(Failure::Internal)
    }
}

/// Forgets now and then who is of no use any more.
async fn sweep(users: Weak<Inner>) {
    while let Some(inner) = users.upgrade() {
        let pause = inner.ttls.usable.max(SHORTEST_PAUSE);
        // On a thread of its own, for all who wait for Cognito wait for this one.
        let sweeping = spawn_blocking(move || {
            inner.cache.sweep(Instant::now());
            inner.cognito.values().for_each(|cognito| cognito.limiter().prune());
        });
        if sweeping.await.is_err() {
            error!("a sweep failed: what is of no use is held until the next");
        }
        sleep(pause).await;
    }
}

/// What the cache has for a request.
enum CacheLookup {
    /// Nothing that may be served.
    Miss,
    /// What is to be answered at once.
    Hit(LookupOutcome, Answer),
    /// What may be served if Cognito cannot answer.
    Stale,
}

/// A permit in the terms of the cache and the single_flight.
struct LookupRequest<'a> {
    subject: &'a Subject,
    key: Key,
    /// The user's name, where the groups are in request and not the user.
    username_for_groups: Option<Username>,
    method: LookupMethod,
    demand: Demand,
    caller_limit: Option<&'a CallerRateLimit>,
    epoch: Epoch,
}

impl LookupRequest<'_> {
    /// The same about the groups of the user that it found.
    fn for_groups(&self, user: &User) -> Self {
        let (key, username_for_groups) = (self.key.with_kind(EntryKind::Groups), Some(user.username.clone()));
        Self { key, username_for_groups, ..*self }
    }

    fn fetch_request(&self) -> FetchRequest {
        let lookup_key = self.subject.lookup_key.clone();
        let (username_for_groups, caller_limit) =
            (self.username_for_groups.clone(), self.caller_limit.cloned());
        FetchRequest { key: self.key.clone(), lookup_key, username_for_groups, caller_limit }
    }
}

/// What a fetch, which no request owns, must know of one.
struct FetchRequest {
    key: Key,
    lookup_key: LookupKey,
    username_for_groups: Option<Username>,
    caller_limit: Option<CallerRateLimit>,
}

impl Key {
    fn of(subject: &Subject) -> Self {
        Self { pool: subject.pool.id.clone(), sub: subject.sub.clone(), kind: EntryKind::Profile }
    }
}

impl From<&LookupKey> for LookupMethod {
    fn from(lookup_key: &LookupKey) -> Self {
        match lookup_key {
            LookupKey::Sub => Self::BySub,
            LookupKey::Username(_) => Self::ByUsername,
        }
    }
}

const MAX_TRIES: usize = 3;
// A sweep looks at everything that is held.
const SHORTEST_PAUSE: Duration = Duration::from_secs(60);
// As many as Cognito's default quota of 120 reads a second lets begin within the 3 s that a caller waits for one to
// begin and the 2 s that it may last.
const MAX_FETCHES: usize = 600;
// Cognito answers within a fraction of it, and callers with an answer at hand should not wait out a hanging one.
const BRIEFLY: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) fn test_pool(bare_sub: crate::pool::BareSubLookup) -> crate::pool::Pool {
    crate::pool::Pool {
        id: "eu-west-1_A".parse().unwrap(),
        app_clients: ["client1".parse().unwrap()].into(),
        endpoint_url: None,
        issuers: Vec::new(),
        jwks_url: "http://127.0.0.1:1".parse().unwrap(),
        bare_sub,
        credentials: crate::config::AwsCredentials::Placeholder,
        region: "eu-west-1".into(),
        account: None,
        role: None,
    }
}

#[cfg(test)]
pub(crate) fn test_user(sub: &str) -> User {
    User {
        sub: sub.parse().unwrap(),
        username: "ada".parse().unwrap(),
        attributes: crate::attribute::Attributes::default(),
        status: crate::user::UserStatus::Confirmed,
        enabled: true,
        created_at: None,
        updated_at: None,
    }
}
