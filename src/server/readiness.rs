//! Whether the server is ready for calls, as gRPC health, `/readyz` and load balancers report it.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
};

use thiserror::Error;
use tokio::sync::watch;
use tonic::Status;
use tracing::{info, warn};

use crate::pool::{Pool, PoolId, Pools};

/// The readiness of the server and of each pool; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Readiness(watch::Receiver<ReadyState>);

/// What a pool needs before calls about it can be answered.
#[derive(Clone, Copy, Debug, Eq, Error, Ord, PartialEq, PartialOrd)]
pub(super) enum Requirement {
    #[error("its signing keys were not fetched yet")]
    SigningKeys,
    #[error("no AWS credentials for it were found yet")]
    Credentials,
}

impl Requirement {
    pub(super) const ALL: [Self; 2] = [Self::SigningKeys, Self::Credentials];

    /// Returns whether the pools get it in different ways.
    fn differs(self, one: &Pool, other: &Pool) -> bool {
        match self {
            Self::SigningKeys => one.jwks_url != other.jwks_url,
            Self::Credentials => {
                (one.credentials, &one.region, &one.role) != (other.credentials, &other.region, &other.role)
            }
        }
    }
}

/// What is ready.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct ReadyState {
    /// What each pool still lacks.
    pools: BTreeMap<PoolId, BTreeSet<Requirement>>,
    requires_all: bool,
    /// Whether the revocations and changes before the start were read, or take too long.
    is_caught_up: bool,
    /// Whether the audit sink accepts the records that every call requires.
    audit_ready: bool,
    stopping: bool,
}

/// One condition of readiness.
#[derive(Debug)]
pub(super) struct Check {
    pub(super) name: String,
    /// What is missing, empty if nothing is.
    pub(super) missing: String,
}

impl ReadyState {
    /// Returns whether the server is ready for calls about some pool, or about every one if the
    /// settings require that.
    pub(super) fn is_ready(&self) -> bool {
        let mut pools = self.pools.values().map(BTreeSet::is_empty);
        self.answers_calls()
            && if self.requires_all { pools.all(|ready| ready) } else { pools.any(|ready| ready) }
    }

    /// Returns whether the server is ready for calls about a pool; none if it is not configured.
    pub(super) fn is_pool_ready(&self, pool: &str) -> Option<bool> {
        let mut pools = self.pools.iter();
        let (_, missing) = pools.find(|(id, _)| id.as_str() == pool)?;
        Some(missing.is_empty() && self.answers_calls())
    }

    pub(super) fn pools(&self) -> impl Iterator<Item = &PoolId> {
        self.pools.keys()
    }

    /// Returns every condition. Not all of them are needed: without `require_all_pools`, one pool is
    /// enough.
    pub(super) fn checks(&self) -> impl Iterator<Item = Check> {
        let check = |name: &str, is_met: bool, problem: &str| Check {
            name: name.to_owned(),
            missing: if is_met { String::new() } else { problem.to_owned() },
        };
        let server = [
            check("running", !self.stopping, "the server is stopping"),
            check("audit", self.audit_ready, "the audit sink does not accept the required records"),
            check("revocations", self.is_caught_up, "the revocations before the start are being read"),
        ];
        let pools = self.pools.iter().map(|(id, missing)| Check {
            name: format!("pool {id}"),
            missing: missing.iter().map(Requirement::to_string).collect::<Vec<_>>().join(", "),
        });
        server.into_iter().chain(pools)
    }

    /// Returns every condition on a line of its own, with what is missing.
    pub(super) fn describe(&self) -> String {
        let line = |Check { name, missing }| match &*missing {
            "" => format!("[+] {name}: ok\n"),
            missing => format!("[-] {name}: {missing}\n"),
        };
        self.checks().map(line).collect()
    }

    /// Serves these pools from now on, in place of `old`. One that stays keeps what it has, unless it now
    /// gets it elsewhere.
    pub(super) fn set_pools(&mut self, old: &Pools, pools: &Pools) {
        let lacked = mem::take(&mut self.pools);
        let missing = |pool: &Pool| match (old.by_id(&pool.id), lacked.get(&pool.id)) {
            (Some(old), Some(lacked)) => {
                let changed = Requirement::ALL.into_iter().filter(|needed| needed.differs(old, pool));
                lacked.iter().copied().chain(changed).collect()
            }
            _ => Requirement::ALL.into(),
        };
        self.pools = pools.iter().map(|pool| (pool.id.clone(), missing(pool))).collect();
    }

    /// Returns what a pool still lacks.
    pub(super) fn missing(&self, pool: &PoolId) -> BTreeSet<Requirement> {
        self.pools.get(pool).cloned().unwrap_or_default()
    }

    /// Records that a pool has what it needs. Returns whether calls about it can now be answered.
    pub(super) fn meet(&mut self, pool: &PoolId, requirement: Requirement) -> bool {
        let was_ready = self.is_ready();
        let Some(missing) = self.pools.get_mut(pool) else { return false };
        if !missing.remove(&requirement) || !missing.is_empty() {
            return false;
        }
        info!(pool.id = %pool, "the pool is ready");
        self.note_serving(was_ready);
        true
    }

    /// Records that the revocations and changes before the start were read, or take too long.
    pub(super) fn catch_up(&mut self) {
        let was_ready = self.is_ready();
        self.is_caught_up = true;
        self.note_serving(was_ready);
    }

    fn note_serving(&self, was_ready: bool) {
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
        self.audit_ready && self.is_caught_up && !self.stopping
    }

    /// Makes everything "not ready", for good.
    pub(super) fn stop(&mut self) {
        self.stopping = true;
    }
}

impl Readiness {
    /// Starts with "not ready".
    pub(super) fn channel(pools: &Pools, requires_all: bool) -> (watch::Sender<ReadyState>, Self) {
        let pools = pools.iter().map(|pool| (pool.id.clone(), Requirement::ALL.into())).collect();
        let state =
            ReadyState { pools, requires_all, is_caught_up: false, audit_ready: true, stopping: false };
        let (sender, receiver) = watch::channel(state);
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
