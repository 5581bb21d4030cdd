//! Finds the user that a [`Permit`] names, as fresh as it requires: in the cache, or by a fetch that
//! all concurrent requests share.

mod admin;
mod announce;
mod cache;
mod cognito;
mod connector;
mod entry;
mod fetch;
mod fetch_request;
mod found;
mod group_changes;
mod invalidation;
mod limiter;
mod lookup;
#[cfg(test)]
mod model;
mod online;
mod revocation;
mod shared;
mod single_flight;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use arc_swap::ArcSwap;
use futures_util::future::{OptionFuture, join};
use tokio::time::Instant;

pub use self::{
    admin::{EntryInfo, EntryState},
    found::{Failure, Found},
    group_changes::GroupChange,
    invalidation::{Invalidated, Invalidation, InvalidationFailure},
    limiter::rates_beyond_quota,
    revocation::{RevocationFailure, Revoked},
    shared::{SharedEntryInfo, SharedState},
};
use self::{
    announce::ChangesCell,
    cache::UserCache,
    cognito::Cognito,
    connector::Connector,
    entry::Ttls,
    group_changes::GroupChanges,
    limiter::{Account, Priority},
    lookup::LookupRequest,
    online::OnlineChecks,
    shared::Shared,
    single_flight::SingleFlight,
};
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use self::{
    cognito::fuzzing::{admin_get_user, list_users},
    shared::shared_entry,
};
use crate::{
    auth::VerifiedTokens,
    cache::{MAINTENANCE_INTERVAL, maintain},
    clock::BootTime,
    config::{BudgetSettings, CacheSettings},
    epochs::Epochs,
    freshness::FreshnessRequirement,
    outgoing::Outgoing,
    policy::{Permit, Subject},
    pool::{PoolId, Pools},
    shared_cache::SharedCache,
    telemetry::metrics::{Metrics, cache::CacheMetrics},
};

/// Looks up the users of the configured pools, in the cache or at Cognito. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Users(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    cognito: ArcSwap<HashMap<PoolId, Cognito>>,
    epochs: Arc<Epochs>,
    tokens: Arc<VerifiedTokens>,
    single_flight: SingleFlight,
    cache: UserCache,
    changes: ChangesCell,
    shared: Option<Arc<Shared>>,
    online: OnlineChecks,
    group_changes: GroupChanges,
    ttls: Ttls,
    cache_metrics: CacheMetrics,
}

/// Clients of pools, which are not in use yet.
#[derive(Debug)]
pub struct PoolClients(HashMap<PoolId, Cognito>);

impl Users {
    /// Prepares a client for every pool, with credentials of the AWS chain, and starts to read the
    /// quotas. Calls to Cognito run on the current runtime. An erasure also removes the user's
    /// verified tokens.
    pub async fn connect(
        pools: &Pools,
        cache: &CacheSettings,
        budget: &BudgetSettings,
        tokens: Arc<VerifiedTokens>,
        shared: Option<SharedCache>,
        metrics: &Metrics,
        outgoing: &Outgoing,
    ) -> Self {
        let connector = Connector { budget, shared: shared.as_ref(), metrics, outgoing };
        let cognito = connector.connect(pools, &HashMap::new()).await;
        let scopes: HashSet<_> =
            pools.iter().map(|pool| (pool.account.clone(), pool.region.clone())).collect();
        let users = Self::new(cognito, cache, scopes.len(), tokens, shared, metrics.cache.clone());
        users.0.cache.register_metrics(metrics);
        users.register_revocation_metrics(metrics);
        if users.0.shared.is_some() {
            #[expect(clippy::disallowed_methods, reason = "ends with the users")]
            tokio::spawn(shared::follow(Arc::downgrade(&users.0)));
        }
        #[expect(clippy::disallowed_methods, reason = "ends with the users")]
        tokio::spawn(maintain(Arc::downgrade(&users.0), MAINTENANCE_INTERVAL, Inner::maintain));
        users
    }

    /// Returns the clients of these pools, for [`Self::set_clients`]. A pool that is served already,
    /// unchanged, keeps its client. Call it in the runtime that calls Cognito.
    pub async fn clients_of(
        &self,
        pools: &Pools,
        budget: &BudgetSettings,
        metrics: &Metrics,
        outgoing: &Outgoing,
    ) -> PoolClients {
        let shared = self.0.shared.as_ref().map(|shared| shared.store());
        let connector = Connector { budget, shared, metrics, outgoing };
        PoolClients(connector.connect(pools, &self.0.cognito.load_full()).await)
    }

    /// Looks up the users of the pools of these clients from now on.
    pub fn set_clients(&self, PoolClients(cognito): PoolClients) {
        self.0.cognito.store(Arc::new(cognito));
    }

    /// Waits, without a time limit, for the credentials for a pool. Call it in the runtime that calls
    /// Cognito.
    pub async fn credentials_found(&self, pool: &PoolId) {
        if let Ok(cognito) = self.cognito(pool) {
            cognito.ready().await;
        }
    }

    /// Waits up to 5 s for the revocations of other replicas. Call it in the runtime that calls Cognito.
    pub async fn revocations_read(&self) {
        OptionFuture::from(self.0.shared.as_ref().map(|shared| shared.caught_up())).await;
    }

    /// Returns the user that the permit names, and its groups if the permit needs them from
    /// Cognito, as fresh as the permit requires when this returns. Fails at once if the rate limit
    /// has no call left that starts before `deadline`. Cancel safe: a fetch in flight goes on,
    /// bounded in time, and its result is cached.
    pub fn find(&self, permit: &Permit, deadline: Instant) -> impl Future<Output = Result<Found, Failure>> {
        self.find_with_priority(permit, permit.freshness(), Priority::Single, deadline)
    }

    /// Returns what [`find`](Self::find) would if the permit required this freshness, for one user of
    /// a batch. Requests of the same caller about one user come first.
    pub fn find_for_batch(
        &self,
        permit: &Permit,
        requirement: FreshnessRequirement,
        deadline: Instant,
    ) -> impl Future<Output = Result<Found, Failure>> {
        self.find_with_priority(permit, requirement, Priority::Batch, deadline)
    }

    async fn find_with_priority(
        &self,
        permit: &Permit,
        requirement: FreshnessRequirement,
        priority: Priority,
        deadline: Instant,
    ) -> Result<Found, Failure> {
        let account = Account { priority, caller_limit: permit.caller_limit() };
        let request = self.request(permit.subject(), requirement, account);
        if self.fetches_groups(permit) {
            Box::pin(self.find_with_groups(&request, deadline)).await
        } else {
            self.find_user(&request, deadline).await
        }
    }

    /// Returns what [`find`](Self::find) would return without waiting. None if it might wait, or if
    /// the permit needs groups from Cognito. Only a result counts as a lookup and may start a
    /// refresh.
    pub fn find_cached(&self, permit: &Permit) -> Option<Result<Found, Failure>> {
        if self.fetches_groups(permit) {
            return None;
        }
        let account = Account { priority: Priority::Single, caller_limit: permit.caller_limit() };
        let request = self.request(permit.subject(), permit.freshness(), account);
        self.cached(&request).map(Found::user_of)
    }

    fn new(
        cognito: HashMap<PoolId, Cognito>,
        cache: &CacheSettings,
        limiters: usize,
        tokens: Arc<VerifiedTokens>,
        shared: Option<SharedCache>,
        cache_metrics: CacheMetrics,
    ) -> Self {
        let ttls = Ttls { fresh: cache.fresh_for, usable: cache.usable_for, absent: cache.absent_for };
        let cache = UserCache::new(cache.max_bytes, cache.max_absent_bytes, ttls, &cache_metrics);
        let single_flight = SingleFlight::new(MAX_FETCHES * limiters.max(1));
        let epochs = Arc::clone(tokens.epochs());
        let shared = shared.map(|store| Arc::new(Shared::new(store, ttls, tokens.revocations())));
        let online = OnlineChecks::new(tokens.revocations());
        let group_changes = GroupChanges::default();
        let changes = ChangesCell::new();
        Self(Arc::new(Inner {
            cognito: ArcSwap::from_pointee(cognito),
            epochs,
            tokens,
            single_flight,
            cache,
            changes,
            shared,
            online,
            group_changes,
            ttls,
            cache_metrics,
        }))
    }

    /// Returns whether the groups must be fetched: the permit has none, or those of a token from before
    /// they changed.
    fn fetches_groups(&self, permit: &Permit) -> bool {
        permit.fetches_groups()
            || permit.token_with_groups_issued_at().is_some_and(|issued_at| {
                let Subject { pool, sub, .. } = permit.subject();
                self.0.group_changes.outdates_token(&pool.id, sub, issued_at)
            })
    }

    async fn find_user(&self, request: &LookupRequest<'_>, deadline: Instant) -> Result<Found, Failure> {
        Found::user_of(self.answer(request, deadline).await?)
    }

    /// Looks up the user first, because Cognito lists groups by username. What is too old once the
    /// other is there is looked up again, beside what would then be too old.
    async fn find_with_groups(
        &self,
        request: &LookupRequest<'_>,
        deadline: Instant,
    ) -> Result<Found, Failure> {
        let mut found = self.find_user(request, deadline).await?;
        let of_groups = request.for_groups(found.username());
        let mut began = BootTime::now();
        let mut groups = self.answer(&of_groups, deadline).await?;
        for _ in 0..=MAX_REPEATS {
            let now = BootTime::now();
            let is_good = |time| {
                let user = request.is_satisfied_by(found.freshness(), time) && !found.is_outdated_by(&groups);
                (user, request.is_satisfied_by(groups.freshness, time))
            };
            if is_good(now) == (true, true) {
                return found.with_groups_of(groups, now);
            }
            let keeps = is_good(now + (now - began));
            let again = (request.fetched_since(now), of_groups.fetched_since(now));
            began = now;
            let user = (!keeps.0).then(|| self.find_user(&again.0, deadline));
            let listed = (!keeps.1).then(|| self.answer(&again.1, deadline));
            let again = join(OptionFuture::from(user), OptionFuture::from(listed)).await;
            (found, groups) = (again.0.unwrap_or(Ok(found))?, again.1.unwrap_or(Ok(groups))?);
        }
        Err(Failure::Unavailable)
    }

    fn cognito(&self, pool: &PoolId) -> Result<Cognito, Failure> {
        self.0.cognito.load().get(pool).cloned().ok_or(Failure::Internal)
    }
}

impl Inner {
    /// Frees expired cache entries and unused rate limits of users.
    fn maintain(&self) {
        self.cache.maintain();
        self.online.maintain();
        self.group_changes.maintain();
        self.cognito.load().values().for_each(|cognito| cognito.limiter().prune());
    }
}

// A further repeat only follows if Cognito takes longer each time.
const MAX_REPEATS: usize = 2;
// Cognito's default quota of 120 reads a second for 5 s, twice, because one caller gets half. A
// caller waits up to 3 s for a call to start. The call takes up to 2 s.
const MAX_FETCHES: usize = 1200;

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod tests;

#[cfg(test)]
use self::fixtures::*;
#[cfg(test)]
pub(crate) use self::fixtures::{test_pool, test_user};
