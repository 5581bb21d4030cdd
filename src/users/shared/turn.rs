//! Whether this replica fetches a user, or gets what another one fetched.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};

use super::{
    super::{
        Failure, Invalidation, Users,
        cache::{EntryKind, Key},
        entry::{CacheEntry, Content, Decision},
        fetch_request::FetchRequest,
        limiter::Priority,
        single_flight::{FetchError, Fetched},
    },
    Shared, failure,
    lease::{LEASE, LONGEST_LEASE, Lease},
    value::{self, OpenError},
};
use crate::{
    clock::{BootTime, TimePoint},
    freshness::{FreshnessRequirement, Source},
    shared_cache::{LeaseToken, Look, LookOutcome, Looked, NewLease, OldValue, ServerTime, UserKey},
    telemetry::metrics::shared_entries::{LeaseEnd, SharedLookup},
};

/// What the shared cache says about a fetch.
#[derive(Debug)]
pub(in crate::users) enum Turn {
    /// There is an entry: of another replica, or of this one and confirmed.
    Found(Fetched),
    /// Another replica's fetch failed, or takes too long.
    Failed(FetchError),
    /// This replica fetches; with a lease, for all of them.
    Fetch(Option<Lease>),
}

/// A fetch that looks for an entry or a lease.
struct Looking<'a> {
    users: &'a Users,
    request: &'a FetchRequest,
    shared: &'a Arc<Shared>,
    user: UserKey,
    /// An entry must be newer to be of use.
    newer_than: ServerTime,
    /// When the fetch began of this replica's own entry. An older one may not know that the user is
    /// gone.
    newer_than_own: BootTime,
    /// The lease of another replica that this fetch waited for, to learn how it ended.
    waited_for: Option<LeaseToken>,
}

enum Confirmation {
    Confirmed(CacheEntry),
    Invalidated,
    /// The entry is not suspect, or of no use.
    NotNeeded,
    /// The store does not answer, so that the TTL of the entry alone decides.
    Unanswered(CacheEntry),
}

enum Step {
    Done(Turn),
    LookAgain,
    Wait,
}

impl Users {
    /// Looks in the shared cache until there is an entry or this replica has the lease. Waits for
    /// another replica's lease until shortly before the deadline of the request.
    pub(in crate::users) async fn turn(&self, request: &mut FetchRequest, shared: &Arc<Shared>) -> Turn {
        match Looking::new(self, request, shared).confirm().await {
            Confirmation::Confirmed(entry) | Confirmation::Unanswered(entry) => {
                return Turn::Found(Fetched { entry, source: Source::Cache });
            }
            // What is found from now on is newer.
            Confirmation::Invalidated => {
                request.epoch = self.0.epochs.of(&request.key.pool, &request.key.sub);
            }
            Confirmation::NotNeeded => {}
        }
        let mut looking = Looking::new(self, request, shared);
        let mut useless_entries = 0;
        // The deadline bounds the waits.
        while useless_entries < MAX_USELESS_ENTRIES {
            match looking.look().await {
                Step::Done(turn) => return turn,
                Step::LookAgain => useless_entries += 1,
                Step::Wait => sleep(poll_delay()).await,
            }
        }
        Turn::Fetch(None)
    }
}

impl<'a> Looking<'a> {
    fn new(users: &'a Users, request: &'a FetchRequest, shared: &'a Arc<Shared>) -> Self {
        let Key { pool, sub, .. } = &request.key;
        let own = users.0.cache.get(&request.key).map(|entry| entry.began.boot);
        Self {
            users,
            request,
            shared,
            user: shared.user(pool, sub),
            newer_than: shared.recent.of(pool, sub).invalidated,
            newer_than_own: own.unwrap_or_default(),
            waited_for: None,
        }
    }

    /// Asks the store about the entry of this process, if it is suspect. If the store knows of a later
    /// invalidation, it is applied as after its event: an expiry cannot be told from an erasure.
    async fn confirm(&self) -> Confirmation {
        let (key, cache) = (&self.request.key, &self.users.0.cache);
        let entry = cache.get(key).filter(|entry| self.shared.is_suspect(entry) && self.is_good(entry));
        let Some(entry) = entry else { return Confirmation::NotNeeded };
        let sent = BootTime::now();
        let Ok(looked) = self.shared.store.look(&self.user, &self.wanted(sent)).await else {
            self.count(SharedLookup::Unavailable);
            return Confirmation::Unanswered(entry);
        };
        if looked.invalidated > ServerTime::ZERO && looked.invalidated >= entry.since {
            self.shared.note(&key.pool, &key.sub, looked.invalidated);
            self.users.invalidate_entries(&key.pool, &key.sub, Invalidation::Forget);
            return Confirmation::Invalidated;
        }
        cache.confirm(key, entry.began.boot, sent);
        self.count(SharedLookup::Confirmed);
        Confirmation::Confirmed(CacheEntry { checked: sent, ..entry })
    }

    async fn look(&mut self) -> Step {
        let (sent, token) = (TimePoint::now(), LeaseToken::random());
        let lease = NewLease { token: &token, lasts: LEASE, ttl: self.shared.ttl };
        let look = Look { lease: Some(lease), ..self.wanted(sent.boot) };
        // Without the store, this replica is alone.
        let looked = self.shared.store.look(&self.user, &look).await;
        let Some(looked) = looked.ok().filter(|looked| looked.now.is_near(sent.system)) else {
            return self.alone(SharedLookup::Unavailable);
        };
        self.forget_what_was_missed(&looked);
        match &looked.outcome {
            LookOutcome::Value(sealed) => self.read(sealed, looked.now, sent),
            LookOutcome::Busy { token, since, .. } => {
                self.wait(token, looked.now.saturating_duration_since(*since))
            }
            LookOutcome::Failed(reason) => self.failed(failure::from_text(reason)),
            LookOutcome::Leased { since, old } if *since <= looked.now => {
                let old = old.as_ref().and_then(|old| self.open_old(old, &looked, sent));
                self.count(SharedLookup::Miss);
                Step::Done(Turn::Fetch(Some(self.lead(token, *since, old))))
            }
            // No answer to this look.
            LookOutcome::Leased { .. } | LookOutcome::Nothing { .. } => self.alone(SharedLookup::Unavailable),
        }
    }

    /// Removes a suspect entry that is past its TTL if the store knows of a later invalidation. It may
    /// have been an erasure, after which Cognito's failure is no reason to serve the entry.
    fn forget_what_was_missed(&self, looked: &Looked) {
        let (key, cache) = (&self.request.key, &self.users.0.cache);
        let missed = cache.get(key).filter(|entry| {
            let is_older = looked.invalidated > ServerTime::ZERO && entry.since <= looked.invalidated;
            is_older && self.shared.is_suspect(entry)
        });
        if missed.is_some() {
            cache.remove(&key.with_kind(EntryKind::Profile));
        }
    }

    /// Reads the entry of another replica. Without the key, this replica fetches for itself alone:
    /// it must not replace what the others can read.
    fn read(&mut self, sealed: &[u8], now: ServerTime, sent: TimePoint) -> Step {
        match value::open(&self.shared.store, &self.request.key, sealed, sent, now) {
            Ok(entry) if self.is_good(&entry) && self.shared.is_current(&self.request.key, &entry) => {
                let is_absent = matches!(entry.content, Content::Absent(_));
                self.count(if is_absent { SharedLookup::Absent } else { SharedLookup::Hit });
                if self.waited_for.is_some() {
                    self.shared.store.metrics().leases.get(LeaseEnd::Followed).inc();
                }
                self.users.keep(self.request, &entry);
                Step::Done(Turn::Found(Fetched { entry, source: Source::SharedCache }))
            }
            Ok(entry) if entry.since > self.newer_than => {
                self.newer_than = entry.since;
                Step::LookAgain
            }
            Err(OpenError::UnknownKey | OpenError::TooNew) => self.alone(SharedLookup::Unreadable),
            // Older than the store says, or nobody's: to be replaced.
            Ok(_) | Err(OpenError::Invalid) => {
                self.newer_than = ServerTime::MAX;
                Step::LookAgain
            }
        }
    }

    /// Waits for the lease of another replica, if there is time and if it can be a true one.
    fn wait(&mut self, token: &LeaseToken, held_for: Duration) -> Step {
        if held_for > LONGEST_LEASE + LEASE {
            return self.alone(SharedLookup::Unreadable);
        }
        let is_late = Instant::now() + LEAST_LEFT >= self.request.deadline;
        if is_late || self.request.account.priority == Priority::Background {
            return self.failed(Failure::Unavailable.into());
        }
        self.waited_for = Some(token.clone());
        Step::Wait
    }

    /// Fetches for this replica alone.
    fn alone(&self, why: SharedLookup) -> Step {
        self.count(why);
        Step::Done(Turn::Fetch(None))
    }

    fn failed(&self, error: FetchError) -> Step {
        self.count(SharedLookup::Failed);
        Step::Done(Turn::Failed(error))
    }

    fn count(&self, outcome: SharedLookup) {
        self.shared.store.metrics().lookups.get(outcome).inc();
    }

    /// Opens an entry past its TTL, or from before an expiry.
    fn open_old(&self, old: &OldValue, looked: &Looked, sent: TimePoint) -> Option<CacheEntry> {
        if self.shared.is_outdated(old, looked.now) {
            return None;
        }
        let opened = value::open(&self.shared.store, &self.request.key, &old.sealed, sent, looked.now);
        let is_expired = old.since <= looked.invalidated;
        opened.ok().map(|entry| if is_expired { entry.expired() } else { entry })
    }

    fn lead(&self, token: LeaseToken, since: ServerTime, old: Option<CacheEntry>) -> Lease {
        let (key, cache) = (&self.request.key, &self.users.0.cache);
        let known = [old.clone(), cache.get(key)];
        let replaces_enabled = known.iter().flatten().any(|entry| !entry.content.is_gone());
        self.keep_for_an_outage(old);
        Lease {
            shared: Arc::clone(self.shared),
            runtime: self.users.0.single_flight.clone(),
            key: key.clone(),
            user: self.user.clone(),
            token,
            since,
            replaces_enabled,
            failure: None,
            is_over: false,
        }
    }

    /// Caches an old entry if nothing else of the user is cached: it is served only if Cognito fails.
    fn keep_for_an_outage(&self, old: Option<CacheEntry>) {
        let FetchRequest { key, epoch, .. } = self.request;
        let useful = old.filter(|old| !old.content.is_gone() && self.shared.is_current(key, old));
        let Some(old) = useful.filter(|_| self.users.0.cache.get(key).is_none()) else { return };
        self.users.0.epochs.if_current(*epoch, || self.users.0.cache.put(key.clone(), old));
    }

    /// What is looked for, without taking a lease.
    fn wanted(&self, now: BootTime) -> Look<'_> {
        let ttl = match self.request.account.priority {
            // Another replica's entry ends a refresh only if it needs none itself.
            Priority::Background => self.users.0.ttls.fresh / 2,
            Priority::Batch | Priority::Single => self.users.0.ttls.fresh,
        };
        // Below the least that jitter makes of a TTL.
        let ttl = ttl * 9 / 10;
        let max_age = match self.request.requirement {
            FreshnessRequirement::Any => ttl,
            FreshnessRequirement::MaxAge(age) => ttl.min(age),
            FreshnessRequirement::FetchedSince(time) => ttl.min(now - time),
        };
        let max_age = max_age.min(now - self.newer_than_own);
        Look {
            kind: self.request.key.kind.into(),
            lease: None,
            max_age,
            newer_than: self.newer_than,
            waited_for: self.waited_for.as_ref(),
        }
    }

    fn is_good(&self, entry: &CacheEntry) -> bool {
        let FetchRequest { method, requirement, .. } = self.request;
        let decision = self.users.0.ttls.decide(entry, *method, *requirement, BootTime::now());
        matches!(decision, Decision::Serve | Decision::ServeAndRefresh)
            && !self.users.has_old_groups(&self.request.key, entry)
    }
}

/// The time between two looks, with jitter so that replicas do not ask in step.
fn poll_delay() -> Duration {
    POLL.mul_f64(0.8 + 0.4 * fastrand::f64())
}

const POLL: Duration = Duration::from_millis(25);
// A look and the reply still fit.
const LEAST_LEFT: Duration = Duration::from_millis(100);
// An entry too old for the request, one that is replaced, and a store that lies.
const MAX_USELESS_ENTRIES: usize = 4;
