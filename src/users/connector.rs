//! Connects pools with their Cognito: a client for each pool, and a rate limiter for each account and
//! Region.

use std::{collections::HashMap, sync::Arc};

use super::{cognito::Cognito, limiter::RateLimiter};
use crate::{
    config::BudgetSettings,
    outgoing::Outgoing,
    pool::{Pool, PoolId, Pools},
    shared_cache::SharedCache,
    telemetry::metrics::Metrics,
};

/// What the clients need.
pub(super) struct Connector<'a> {
    pub(super) budget: &'a BudgetSettings,
    pub(super) shared: Option<&'a SharedCache>,
    pub(super) metrics: &'a Metrics,
    pub(super) outgoing: &'a Outgoing,
}

impl Connector<'_> {
    /// Returns a client for every pool, with credentials of the AWS chain, and starts to read the
    /// quotas. Those of `old` are kept: the clients of the same pools, and the rate limiters of the
    /// same accounts and Regions. Calls to Cognito run on the current runtime.
    pub(super) async fn connect(
        &self,
        pools: &Pools,
        old: &HashMap<PoolId, Cognito>,
    ) -> HashMap<PoolId, Cognito> {
        let mut cognito: HashMap<PoolId, Cognito> = HashMap::new();
        for pool in pools.iter() {
            let same = old.get(&pool.id).filter(|old| Arc::ptr_eq(old.pool(), pool));
            let client = match same {
                Some(same) => same.clone(),
                None => self.client(pool, old.values().chain(cognito.values())).await,
            };
            cognito.insert(pool.id.clone(), client);
        }
        cognito
    }

    async fn client(&self, pool: &Arc<Pool>, mut known: impl Iterator<Item = &Cognito>) -> Cognito {
        let is_same = |other: &&Cognito| {
            let other = other.pool();
            (&other.account, &other.region) == (&pool.account, &pool.region)
        };
        let known = known.find(is_same).map(|other| Arc::clone(other.limiter()));
        let is_new = known.is_none();
        let limiter = known.unwrap_or_else(|| self.limiter(pool));
        let client =
            Cognito::connect(Arc::clone(pool), Arc::clone(&limiter), &self.metrics.upstream, self.outgoing)
                .await;
        if is_new {
            limiter.export(pool.account.as_deref().unwrap_or_default(), &pool.region, self.metrics);
            #[expect(clippy::disallowed_methods, reason = "ends once it has credentials")]
            tokio::spawn(client.clone().learn_quotas());
        }
        client
    }

    fn limiter(&self, pool: &Pool) -> Arc<RateLimiter> {
        let account = pool.account.as_deref().unwrap_or_default();
        match self.shared.and_then(|cache| cache.rate_limit(account, &pool.region)) {
            Some(store) => RateLimiter::shared(self.budget, store, &self.metrics.upstream),
            None => Arc::new(RateLimiter::new(self.budget, &self.metrics.upstream)),
        }
    }
}
