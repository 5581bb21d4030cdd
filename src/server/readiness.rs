//! Whether the server is ready for calls, as gRPC health, `/readyz` and load balancers report it.

use std::{collections::BTreeMap, mem};

use tokio::sync::watch;
use tonic::Status;
use tracing::{info, warn};

use crate::pool::{PoolId, Pools};

/// The readiness of the server and of each pool; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Readiness(watch::Receiver<ReadyState>);

/// What is ready.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct ReadyState {
    pools: BTreeMap<PoolId, bool>,
    requires_all: bool,
    /// Whether the audit sink accepts the records that every call requires.
    audit_ready: bool,
    stopping: bool,
}

impl ReadyState {
    /// Returns whether the server is ready for calls about some pool, or about every one if the
    /// settings require that.
    pub(super) fn is_ready(&self) -> bool {
        let mut pools = self.pools.values();
        self.answers_calls()
            && if self.requires_all { pools.all(|ready| *ready) } else { pools.any(|ready| *ready) }
    }

    /// Returns whether the server is ready for calls about a pool; none if it is not configured.
    pub(super) fn is_pool_ready(&self, pool: &str) -> Option<bool> {
        let mut pools = self.pools.iter();
        pools.find(|(id, _)| id.as_str() == pool).map(|(_, ready)| *ready && self.answers_calls())
    }

    pub(super) fn pools(&self) -> impl Iterator<Item = &PoolId> {
        self.pools.keys()
    }

    /// Records that calls about a pool can be answered.
    pub(super) fn set_pool_ready(&mut self, pool: &PoolId) {
        let was_ready = self.is_ready();
        self.pools.insert(pool.clone(), true);
        info!(pool.id = %pool, "the pool is ready");
        if !was_ready && self.is_ready() {
            info!("serving");
        }
    }

    /// Records whether audit records can be written, if they are required. Returns whether that is
    /// new.
    pub(super) fn set_audit_ready(&mut self, audit_ready: bool) -> bool {
        if mem::replace(&mut self.audit_ready, audit_ready) == audit_ready {
            return false;
        }
        match audit_ready {
            true => info!("the audit sink accepts records again"),
            false => warn!("not ready: the audit sink does not accept the required records"),
        }
        true
    }

    fn answers_calls(&self) -> bool {
        self.audit_ready && !self.stopping
    }

    /// Makes everything "not ready", for good.
    pub(super) fn stop(&mut self) {
        self.stopping = true;
    }
}

impl Readiness {
    /// Starts with "not ready".
    pub(super) fn channel(pools: &Pools, requires_all: bool) -> (watch::Sender<ReadyState>, Self) {
        let pools = pools.iter().map(|pool| (pool.id.clone(), false)).collect();
        let (sender, receiver) =
            watch::channel(ReadyState { pools, requires_all, audit_ready: true, stopping: false });
        (sender, Self(receiver))
    }

    /// Returns whether the server is ready for calls.
    pub(super) fn is_ready(&self) -> bool {
        self.0.borrow().is_ready()
    }

    /// Returns a receiver of the current readiness and its changes.
    pub(super) fn subscribe(&self) -> watch::Receiver<ReadyState> {
        self.0.clone()
    }

    /// Answers the default health check path of AWS Application Load Balancers; `None` for any
    /// other path. The health service returns OK in every state, and a load balancer compares only
    /// the gRPC status code, so it would miss a drain.
    pub(super) fn alb_health_check(&self, path: &str) -> Option<Status> {
        (path == "/AWS.ALB/healthcheck").then(|| {
            if self.is_ready() { Status::ok("") } else { Status::unavailable("the server is not ready") }
        })
    }
}
