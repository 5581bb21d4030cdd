//! The right to fetch one user on behalf of all replicas.

use std::{convert::Infallible, future::pending, pin::pin, sync::Arc, time::Duration};

use futures_util::future::{Either, select};
use tokio::time::{Instant, sleep};

use super::{
    super::{
        Invalidation,
        cache::Key,
        entry::{CacheEntry, Content},
        single_flight::{FetchError, SingleFlight},
    },
    Shared, failure, value,
};
use crate::{
    changes::{Change, ChangeKinds},
    clock::{BootTime, TimePoint},
    shared_cache::{LeaseToken, Put, Release, Renew, ServerTime, UserKey},
    telemetry::metrics::shared_entries::LeaseEnd,
};

/// A lease on one user, or on its groups. Other replicas wait for its end. Dropping it releases it
/// in the background.
#[derive(Debug)]
pub(in crate::users) struct Lease {
    pub(super) shared: Arc<Shared>,
    pub(super) runtime: SingleFlight,
    pub(super) key: Key,
    pub(super) user: UserKey,
    pub(super) token: LeaseToken,
    /// When it was granted, which is before its fetch begins.
    pub(super) since: ServerTime,
    /// Whether the entry that it replaces says that the user is enabled.
    pub(super) replaces_enabled: bool,
    /// What the replicas that wait for it are told at its end.
    pub(super) failure: Option<FetchError>,
    pub(super) is_over: bool,
}

/// What became of an entry that was put into the shared cache.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::users) enum Stored {
    /// It is there, or the store did not answer: it may be cached here.
    Accepted,
    /// The user was invalidated after the fetch began, or the lease was lost: it must not be cached.
    Refused,
}

impl Lease {
    /// Runs the fetch and renews the lease meanwhile. A fetch that takes too long loses it.
    pub(in crate::users) async fn held_while<T>(&self, fetch: impl Future<Output = T>) -> T {
        match select(pin!(fetch), pin!(self.renew_until_lost())).await {
            Either::Left((result, _)) => result,
            Either::Right((never, _)) => match never {},
        }
    }

    /// Puts an entry into the shared cache, notes on it what the store knows of it, and ends the
    /// lease.
    pub(in crate::users) async fn put(mut self, entry: &mut CacheEntry) -> Stored {
        entry.since = self.since;
        if !self.shared.is_current(&self.key, entry) {
            return Stored::Refused;
        }
        let Some(sealed) = value::seal(&self.shared.store, &self.key, entry) else { return Stored::Accepted };
        let is_absent = matches!(entry.content, Content::Absent(_));
        let (store, sent) = (&self.shared.store, BootTime::now());
        let put = Put {
            kind: self.key.kind.into(),
            token: &self.token,
            sealed: &sealed,
            ttl: self.shared.ttl,
            absent: is_absent,
        };
        let put = store.put(&self.user, &put).await;
        match put {
            Ok(is_accepted) => {
                self.is_over = true;
                if !is_accepted {
                    self.count(LeaseEnd::Gone);
                    return Stored::Refused;
                }
                self.count(LeaseEnd::Led);
                entry.checked = sent;
                if entry.content.is_gone() && self.replaces_enabled {
                    self.tell_that_gone();
                }
                Stored::Accepted
            }
            // It may be there or not. The entry stays unconfirmed.
            Err(_) => Stored::Accepted,
        }
    }

    /// Ends the lease with a failure, which the replicas that wait for it share.
    pub(in crate::users) fn fail(mut self, error: FetchError) {
        self.failure = Some(error);
    }

    /// Tells the other replicas in the background that the user is disabled or deleted. They drop what
    /// they have, and find the new entry in the store. If they do not hear of it, their TTLs end.
    fn tell_that_gone(&self) {
        let (shared, key) = (Arc::clone(&self.shared), self.key.clone());
        let at = self.since.just_before();
        self.runtime.spawn(async move {
            // The fetch reports the differences to watchers.
            let change = Change::seen(ChangeKinds::default(), TimePoint::now().system);
            let forget = (Invalidation::Forget, change);
            let _bounded_by_ttls = shared.publish(&key.pool, &key.sub, forget, at).await;
        });
    }

    fn count(&self, end: LeaseEnd) {
        self.shared.store.metrics().leases.get(end).inc();
    }

    /// Returns nothing, as it never ends.
    async fn renew_until_lost(&self) -> Infallible {
        let until = Instant::now() + LONGEST_LEASE;
        while Instant::now() < until {
            sleep(RENEW_EVERY).await;
            // One that fails is repeated before the lease ends.
            let renew = Renew { kind: self.key.kind.into(), token: &self.token, lasts: LEASE };
            if self.shared.store.renew(&self.user, &renew).await == Ok(false) {
                break;
            }
        }
        pending().await
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        self.count(LeaseEnd::Failed);
        let (shared, user) = (Arc::clone(&self.shared), self.user.clone());
        let (kind, token) = (self.key.kind.into(), self.token.clone());
        let reason = self.failure.and_then(failure::to_text);
        let forget = self.failure.is_some_and(FetchError::says_gone);
        self.runtime.spawn(async move {
            let release = Release { kind, token: &token, reason: reason.as_deref(), forget };
            let _ends_by_itself = shared.store.release(&user, &release).await;
        });
    }
}

/// How long a lease lasts without renewal: for so long a replica that dies holds up the others.
pub(super) const LEASE: Duration = Duration::from_secs(1);
const RENEW_EVERY: Duration = Duration::from_millis(300);
/// A fetch waits up to 3 s for the rate limit, and its calls take up to 2 s.
pub(super) const LONGEST_LEASE: Duration = Duration::from_secs(5);
