//! What the server waits for before it is ready.

use std::{collections::BTreeMap, future::pending, sync::Arc};

use futures_util::future::{OptionFuture, join};
use tokio::{
    runtime::Handle,
    sync::watch,
    task::{AbortHandle, JoinSet},
};

use super::readiness::{ReadyState, Requirement};
use crate::{
    pool::{Pool, PoolId, Pools},
    service::Service,
    telemetry::metrics::ServerMetrics,
};

/// The waits for what is missing. Dropping it ends them.
pub(super) struct Startup {
    /// Where AWS and the key servers are called.
    upstream: Handle,
    ready: watch::Sender<ReadyState>,
    metrics: ServerMetrics,
    waits: JoinSet<Met>,
    /// The pools that are waited for, or were, and the waits for each.
    pools: BTreeMap<PoolId, (Arc<Pool>, Vec<AbortHandle>)>,
}

/// What is no longer missing.
enum Met {
    Pool(Arc<Pool>, Requirement),
    Revocations,
}

impl Startup {
    /// Waits on `upstream`, and reports to `ready`.
    pub(super) fn begin(upstream: &Handle, ready: watch::Sender<ReadyState>, metrics: ServerMetrics) -> Self {
        let (waits, pools) = (JoinSet::new(), BTreeMap::new());
        Self { upstream: upstream.clone(), ready, metrics, waits, pools }
    }

    /// Waits for the revocations of other replicas and, if there is such a wait, for the changes
    /// before the start.
    pub(super) fn wait_for_revocations(
        &mut self,
        service: &Service,
        caught_up: Option<impl Future<Output = ()> + Send + 'static>,
    ) {
        let service = service.clone();
        let wait = async move {
            join(service.revocations_read(), OptionFuture::from(caught_up)).await;
            Met::Revocations
        };
        self.waits.spawn_on(wait, &self.upstream);
    }

    /// Waits for what these pools lack.
    pub(super) fn wait_for_pools(&mut self, service: &Service, pools: &Pools) {
        for pool in pools.iter() {
            if is_current(&self.pools, pool) {
                continue;
            }
            let missing = self.ready.borrow().missing(&pool.id);
            self.metrics.pool_ready(&pool.id).set(missing.is_empty().into());
            let waits = missing.into_iter().map(|requirement| {
                let (service, pool) = (service.clone(), Arc::clone(pool));
                let wait = async move {
                    match requirement {
                        Requirement::SigningKeys => service.keys_fetched(&pool.id).await,
                        Requirement::Credentials => service.credentials_found(&pool.id).await,
                    }
                    Met::Pool(pool, requirement)
                };
                self.waits.spawn_on(wait, &self.upstream)
            });
            let waits = waits.collect();
            self.pools.insert(pool.id.clone(), (Arc::clone(pool), waits));
        }
    }

    /// Waits for these pools in place of `old`. The waits for one that was changed or removed would never
    /// end.
    pub(super) fn replace_pools(&mut self, service: &Service, old: &Pools, pools: &Pools) {
        self.pools.retain(|id, (pool, waits)| {
            let is_kept = pools.iter().any(|new| Arc::ptr_eq(new, pool));
            if !is_kept {
                waits.iter().for_each(AbortHandle::abort);
            }
            if pools.by_id(id).is_none() {
                self.metrics.remove_pool(id);
            }
            is_kept
        });
        self.ready.send_modify(|state| state.set_pools(old, pools));
        self.wait_for_pools(service, pools);
    }

    /// Reports what is met; never returns. Cancel safe.
    pub(super) async fn report(&mut self) {
        loop {
            let Some(ended) = self.waits.join_next().await else { return pending().await };
            let Ok(met) = ended else { continue };
            self.ready.send_modify(|state| match met {
                Met::Revocations => state.catch_up(),
                // Not what an abort came too late for.
                Met::Pool(pool, requirement) if is_current(&self.pools, &pool) => {
                    if state.meet(&pool.id, requirement) {
                        self.metrics.pool_ready(&pool.id).set(1);
                    }
                }
                Met::Pool(..) => {}
            });
        }
    }
}

/// Returns whether this very pool is waited for, and not one that it was changed into.
fn is_current(pools: &BTreeMap<PoolId, (Arc<Pool>, Vec<AbortHandle>)>, pool: &Arc<Pool>) -> bool {
    pools.get(&pool.id).is_some_and(|(current, _)| Arc::ptr_eq(current, pool))
}
