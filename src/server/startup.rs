//! What the server waits for before it is ready.

use std::future::pending;

use futures_util::future::{OptionFuture, join};
use tokio::{runtime::Handle, sync::watch, task::JoinSet};

use super::readiness::{ReadyState, Requirement};
use crate::{
    pool::{PoolId, Pools},
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
}

/// What is no longer missing.
enum Met {
    Pool(PoolId, Requirement),
    Revocations,
}

impl Startup {
    /// Waits on `upstream`, and reports to `ready`.
    pub(super) fn begin(upstream: &Handle, ready: watch::Sender<ReadyState>, metrics: ServerMetrics) -> Self {
        Self { upstream: upstream.clone(), ready, metrics, waits: JoinSet::new() }
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

    /// Waits for what these pools need.
    pub(super) fn wait_for_pools(&mut self, service: &Service, pools: impl IntoIterator<Item = PoolId>) {
        for id in pools {
            self.metrics.pool_ready(&id).set(0);
            for requirement in Requirement::ALL {
                let (service, id) = (service.clone(), id.clone());
                let wait = async move {
                    match requirement {
                        Requirement::SigningKeys => service.keys_fetched(&id).await,
                        Requirement::Credentials => service.credentials_found(&id).await,
                    }
                    Met::Pool(id, requirement)
                };
                self.waits.spawn_on(wait, &self.upstream);
            }
        }
    }

    /// Waits for these pools instead of the previous ones. Those that lacked something may find it with
    /// other settings, which only this service has.
    pub(super) fn replace_pools(&mut self, service: &Service, pools: &Pools) {
        let mut waiting = Vec::new();
        self.ready.send_modify(|state| {
            let gone: Vec<_> = state.pools().filter(|id| pools.by_id(id).is_none()).cloned().collect();
            gone.iter().for_each(|id| self.metrics.remove_pool(id));
            waiting = state.set_pools(pools);
        });
        self.wait_for_pools(service, waiting);
    }

    /// Reports what is met; never returns. Cancel safe.
    pub(super) async fn report(&mut self) {
        loop {
            let Some(ended) = self.waits.join_next().await else { return pending().await };
            let Ok(met) = ended else { continue };
            self.ready.send_modify(|state| match met {
                Met::Revocations => state.catch_up(),
                Met::Pool(id, requirement) => {
                    if state.meet(&id, requirement) {
                        self.metrics.pool_ready(&id).set(1);
                    }
                }
            });
        }
    }
}
