//! Rebuilds, at the start, the revocations of the last hours from CloudTrail. It is a second source beside
//! the queue, whose messages are gone once they were received, and the shared cache, which may be lost.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures_util::future::join_all;
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tracing::{info, warn};

use super::{
    applier::{cause, invalidation},
    backoff::backoff,
    change::{Change, Subject},
    config::{CatchUpConfig, EventsConfig},
    message,
    trail::Trail,
};
use crate::{
    aws_credentials::CredentialSource,
    config::RevocationCause,
    outgoing::Outgoing,
    pool::{Pool, Pools, Role},
    telemetry::metrics::events::{EventMetrics, TrailCallOutcome},
    user::Sub,
    users::{Invalidation, Users},
};

/// The events since a time, which may have been missed.
#[derive(Debug)]
pub(super) struct CatchUp {
    trails: Vec<PoolsTrail>,
    users: Users,
    revoke_on: Vec<RevocationCause>,
    config: CatchUpConfig,
    metrics: EventMetrics,
    caught_up: watch::Sender<bool>,
}

/// The trail of an account and Region, and the pools there.
#[derive(Debug)]
struct PoolsTrail {
    trail: Trail,
    pools: Vec<Arc<Pool>>,
}

/// Whether the events were looked up since the start; cheap to clone.
#[derive(Clone, Debug)]
pub struct CaughtUp(watch::Receiver<bool>);

impl CaughtUp {
    /// Waits until the events were looked up, here or by another replica, but 5 s at most: they may be
    /// many, and AWS may refuse. Cancel safe.
    pub async fn wait(mut self) {
        if timeout(MAX_WAIT, self.0.wait_for(|is_so| *is_so)).await.is_err() {
            warn!("the changes before the start are still looked up: revoked tokens may be accepted");
        }
    }
}

impl CatchUp {
    /// Prepares the clients, one for each account and Region. Must be called in the runtime that calls
    /// AWS.
    pub(super) async fn connect(
        (config, events): (&CatchUpConfig, &EventsConfig),
        users: &Users,
        pools: &Pools,
        metrics: &EventMetrics,
        outgoing: &Outgoing,
    ) -> (Self, CaughtUp) {
        let mut trails = Vec::new();
        for (region, role, pools) in grouped(pools) {
            let credentials = events.credentials;
            let source = CredentialSource { credentials, region, role, pool: None };
            let trail = Trail::connect(source, config.endpoint_url.as_deref(), outgoing).await;
            trails.push(PoolsTrail { trail, pools });
        }
        metrics.caught_up.set(0);
        let (caught_up, receiver) = watch::channel(false);
        let (users, metrics, revoke_on) = (users.clone(), metrics.clone(), events.revoke_on.clone());
        let catch_up = Self { trails, users, revoke_on, config: config.clone(), metrics, caught_up };
        (catch_up, CaughtUp(receiver))
    }

    /// Looks the events up once, or lets another replica do so.
    pub(super) async fn run(self) {
        join_all(self.trails.iter().map(|of_pools| of_pools.trail.ready())).await;
        if self.users.do_for_all(&self.name(), self.read_all()).await {
            self.metrics.caught_up.set(1);
            self.caught_up.send_replace(true);
        }
    }

    /// Returns what is looked up: a replica with other settings must not take this for its own.
    fn name(&self) -> String {
        let pools: BTreeSet<_> =
            self.trails.iter().flat_map(|trail| &trail.pools).map(|pool| pool.id.as_str()).collect();
        let causes: BTreeSet<_> = self.revoke_on.iter().map(|cause| format!("{cause:?}")).collect();
        format!("revocations {} s {causes:?} {pools:?}", self.config.since.as_secs())
    }

    /// Returns whether all events were read.
    async fn read_all(&self) -> bool {
        let read = join_all(self.trails.iter().map(|of_pools| self.read(of_pools))).await;
        let is_complete = read.iter().all(Option::is_some);
        let (read, revoked) = read
            .into_iter()
            .flatten()
            .fold((0, 0), |sum, (events, revoked)| (sum.0 + events, sum.1 + revoked));
        if is_complete {
            info!(read, revoked, "the changes before the start were looked up");
        } else {
            warn!(
                read,
                revoked,
                calls = MAX_CALLS,
                "not all changes before the start were looked up: revoked tokens may be accepted"
            );
        }
        is_complete
    }

    /// Returns how many events there were, and how many of them revoked tokens that were not revoked
    /// before; none if they are too many, AWS refuses too often, or other replicas could not be told.
    async fn read(&self, of_pools: &PoolsTrail) -> Option<(usize, usize)> {
        let since = SystemTime::now() - self.config.since;
        let (mut read, mut revoked, mut failures, mut is_whole) = (0, 0, 0, true);
        // Page by page of each, so that the newest come first if they are too many.
        let mut pages: VecDeque<_> = EVENTS.into_iter().map(|event| (event, None)).collect();
        let mut pace = interval(PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for _ in 0..MAX_CALLS {
            let Some((event, next)) = pages.pop_front() else { break };
            pace.tick().await;
            match of_pools.trail.look_up(event, since, next.clone()).await {
                Ok(page) => {
                    failures = 0;
                    self.metrics.trail_calls.get(TrailCallOutcome::Answered).inc();
                    read += page.records.len();
                    for record in &page.records {
                        let (new, are_shared) = self.apply(record, &of_pools.pools).await;
                        (revoked, is_whole) = (revoked + new, is_whole && are_shared);
                    }
                    pages.extend(page.next.map(|next| (event, Some(next))));
                }
                Err(error) => {
                    failures += 1;
                    self.metrics.trail_calls.get(TrailCallOutcome::Failed).inc();
                    warn!(aws.code = error.code, cause = error.cause, "a call of LookupEvents failed");
                    if failures == MAX_FAILURES {
                        return None;
                    }
                    pages.push_front((event, next));
                    sleep(backoff(failures)).await;
                }
            }
        }
        (pages.is_empty() && is_whole).then_some((read, revoked))
    }

    /// Applies an event in these pools. Returns in how many it revoked tokens, and whether all replicas
    /// know of it.
    async fn apply(&self, record: &str, pools: &[Arc<Pool>]) -> (usize, bool) {
        let now = SystemTime::now();
        let is_served = |id: &_| pools.iter().any(|pool| pool.id == *id);
        let Ok(change) = message::parse_record(record, now, is_served) else { return (0, true) };
        let Subject::User(sub) = &change.subject else { return (0, true) };
        let (mut revoked, mut are_shared) = (0, true);
        for pool in pools.iter().filter(|pool| change.is_in(pool)) {
            let is_shared = self.apply_in(pool, sub, &change, now).await;
            revoked += usize::from(is_shared.is_some());
            are_shared &= is_shared.unwrap_or(true);
        }
        (revoked, are_shared)
    }

    /// Returns whether all replicas know of the revocation; none if there is nothing to revoke.
    async fn apply_in(&self, pool: &Pool, sub: &Sub, change: &Change, now: SystemTime) -> Option<bool> {
        // Nothing older is in any cache. The bound by the TTLs holds if this fails.
        if invalidation(change.kind).is_some() && change.at + self.config.cached_for >= now {
            let _bounded_by_ttl = self.users.invalidate(&pool.id, sub, Invalidation::Forget).await;
        }
        let is_on = cause(change.kind).is_some_and(|cause| self.revoke_on.contains(&cause));
        let revocation = change.revocation(&pool.id, sub);
        if !is_on || self.users.has_revoked(&revocation) {
            return None;
        }
        // What the shared cache does not take is repeated, and a full memory is counted.
        Some(self.users.revoke(revocation).await.is_ok())
    }
}

/// Groups pools by what a trail is about: the Region, and the account of the role.
fn grouped(pools: &Pools) -> Vec<(String, Option<Role>, Vec<Arc<Pool>>)> {
    let mut groups: Vec<(String, Option<Role>, Vec<_>)> = Vec::new();
    for pool in pools.iter() {
        let known = groups.iter_mut().find(|(region, role, _)| *region == pool.region && *role == pool.role);
        match known {
            Some((.., pools)) => pools.push(Arc::clone(pool)),
            None => groups.push((pool.region.clone(), pool.role.clone(), vec![Arc::clone(pool)])),
        }
    }
    groups
}

/// The operations after which Cognito accepts no older token of a user.
const EVENTS: [&str; 5] =
    ["AdminUserGlobalSignOut", "GlobalSignOut", "AdminDisableUser", "AdminDeleteUser", "DeleteUser"];
// The quota is 2 calls a second for an account and Region (CloudTrail API reference, `LookupEvents`).
const PACE: Duration = Duration::from_millis(600);
// Some 20,000 events in 4 min.
const MAX_CALLS: usize = 400;
// In a row, over some 3 min: the role may lack the permission, and other replicas wait.
const MAX_FAILURES: u32 = 10;
// As for the revocations of the shared cache.
const MAX_WAIT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::RevocationCause::{Disabled, SignedOut},
        pool::BareSubLookup,
        users::test_pool,
    };

    /// Otherwise a replica that serves another pool, or whose tokens live longer, would take the lookup
    /// of another one for its own.
    #[tokio::test]
    async fn a_lookup_counts_only_for_replicas_with_the_same_settings() {
        let name = |ids: &[&str], hours: u64, on: &[RevocationCause]| {
            let pool = |id: &&str| {
                Arc::new(Pool { id: id.parse().unwrap(), ..test_pool(BareSubLookup::AdminGetUser) })
            };
            let trails = vec![PoolsTrail { trail: Trail::unused(), pools: ids.iter().map(pool).collect() }];
            let (users, metrics) =
                (Users::with_cached(&"eu-west-1_A".parse().unwrap(), &[]), EventMetrics::default());
            let since = Duration::from_secs(hours * 3_600);
            let config = CatchUpConfig { endpoint_url: None, since, cached_for: Duration::ZERO };
            let (revoke_on, caught_up) = (on.to_vec(), watch::channel(false).0);
            CatchUp { trails, users, revoke_on, config, metrics, caught_up }.name()
        };
        let both = ["eu-west-1_A", "eu-west-1_B"];
        let one = name(&both, 24, &[SignedOut, Disabled]);
        assert_eq!(
            name(&["eu-west-1_B", "eu-west-1_A"], 24, &[Disabled, SignedOut]),
            one,
            "in another order"
        );
        for other in [
            name(&both[..1], 24, &[SignedOut, Disabled]),
            name(&both, 1, &[SignedOut, Disabled]),
            name(&both, 24, &[SignedOut]),
        ] {
            assert_ne!(other, one);
        }
    }
}
