//! One lookup: a cache hit, a miss that fetches, or a fetch with a stale entry to fall back on
//! (stale-if-error).

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::{
    Failure, Users,
    cache::{EntryKind, Key},
    entry::{CacheEntry, Content, Decision, LookupMethod},
    fetch_request::FetchRequest,
    found::Answer,
    limiter::{Account, FetchId, Priority},
    single_flight::{Fetched, Reporter},
};
use crate::{
    clock::BootTime,
    epochs::Epoch,
    freshness::{Freshness, FreshnessRequirement, Source, StaleReason},
    policy::{LookupKey, Subject},
    telemetry::metrics::cache::{LookupOutcome, PendingLookup},
    user::Username,
};

/// A permit in the terms of the cache.
#[derive(Clone)]
pub(super) struct LookupRequest<'a> {
    subject: &'a Subject,
    key: Key,
    /// The user's name, if the lookup is for the groups and not for the user.
    username_for_groups: Option<Username>,
    method: LookupMethod,
    requirement: FreshnessRequirement,
    account: Account,
    epoch: Epoch,
}

enum CacheLookup {
    /// Nothing that may be served.
    Miss,
    /// An answer to serve at once.
    Hit(LookupOutcome, Answer),
    /// An entry that may be served only if Cognito cannot answer.
    Stale,
}

impl LookupRequest<'_> {
    /// The same lookup for the groups of the user that it found.
    pub(super) fn for_groups(&self, username: &Username) -> Self {
        let (key, username_for_groups) = (self.key.with_kind(EntryKind::Groups), Some(username.clone()));
        Self { key, username_for_groups, ..*self }
    }

    /// The same lookup by a fetch that begins then or later.
    pub(super) fn fetched_since(&self, time: BootTime) -> Self {
        Self { requirement: FreshnessRequirement::FetchedSince(time), ..self.clone() }
    }

    /// Returns whether an answer would be fresh enough at `now`.
    pub(super) fn is_satisfied_by(&self, freshness: Freshness, now: BootTime) -> bool {
        self.requirement.is_satisfied(freshness.began.boot, now)
    }

    fn fetch(&self, account: Account, deadline: Instant, reporter: Reporter) -> FetchRequest {
        FetchRequest {
            key: self.key.clone(),
            lookup_key: self.subject.lookup_key.clone(),
            username_for_groups: self.username_for_groups.clone(),
            method: self.method,
            requirement: self.requirement,
            account,
            epoch: self.epoch,
            deadline,
            reporter,
        }
    }
}

impl Users {
    pub(super) fn request<'a>(
        &self,
        subject: &'a Subject,
        requirement: FreshnessRequirement,
        account: Account,
    ) -> LookupRequest<'a> {
        let (key, method) = (Key::of(subject), LookupMethod::from(&subject.lookup_key));
        let epoch = self.0.epochs.of(&key.pool, &key.sub);
        LookupRequest { subject, key, username_for_groups: None, method, requirement, account, epoch }
    }

    /// Returns the answer of a cache hit, and counts it; none for a miss.
    pub(super) fn cached(&self, request: &LookupRequest<'_>) -> Option<Answer> {
        let CacheLookup::Hit(lookup, answer) = self.look_up(request) else { return None };
        self.0.cache_metrics.begin_lookup().end(lookup);
        Some(answer)
    }

    pub(super) async fn answer(
        &self,
        request: &LookupRequest<'_>,
        deadline: Instant,
    ) -> Result<Answer, Failure> {
        let counting = self.0.cache_metrics.begin_lookup();
        match self.look_up(request) {
            CacheLookup::Hit(lookup, answer) => {
                counting.end(lookup);
                Ok(answer)
            }
            // Boxed, to keep the future of a hit small.
            CacheLookup::Miss => Box::pin(self.fetched_or_shared(request, deadline, counting)).await,
            CacheLookup::Stale => Box::pin(self.fetched_or_stale(request, deadline, counting)).await,
        }
    }

    /// A fetch that fails may have left an entry of the shared cache that is past its TTL.
    async fn fetched_or_shared(
        &self,
        request: &LookupRequest<'_>,
        deadline: Instant,
        counting: PendingLookup<'_>,
    ) -> Result<Answer, Failure> {
        let failure = match self.fetched(request, deadline).await {
            Err(failure) if self.0.shared.is_some() => failure,
            fetched => return fetched,
        };
        let stale = failure.stale_reason().and_then(|reason| self.stale(request, reason));
        let stale = stale.ok_or(failure)?;
        counting.end(LookupOutcome::Stale);
        Ok(stale)
    }

    async fn fetched_or_stale(
        &self,
        request: &LookupRequest<'_>,
        deadline: Instant,
        counting: PendingLookup<'_>,
    ) -> Result<Answer, Failure> {
        let failure = match self.fetched_briefly(request, deadline).await {
            Ok(answer) => return Ok(answer),
            Err(failure) => failure,
        };
        match failure.stale_reason().map(|reason| self.stale(request, reason)) {
            None => Err(failure),
            Some(Some(answer)) => {
                counting.end(LookupOutcome::Stale);
                Ok(answer)
            }
            // The entry became unusable meanwhile, so wait until the deadline.
            Some(None) => self.fetched(request, deadline).await,
        }
    }

    /// Waits for Cognito for a short time: a stale entry is usable, and half of the caller's time
    /// remains to serve it. Half of the wait may be for the rate limit, so that our own queue does
    /// not look like an outage of Cognito.
    async fn fetched_briefly(
        &self,
        request: &LookupRequest<'_>,
        deadline: Instant,
    ) -> Result<Answer, Failure> {
        let now = Instant::now();
        let patience = BRIEF_WAIT.min(deadline.saturating_duration_since(now) / 2);
        let fetched = timeout_at(now + patience, self.fetched(request, now + patience / 2)).await;
        fetched.unwrap_or_else(|_| {
            // So that other callers need not wait too. A timeout under a short deadline does not
            // prove an outage.
            if patience == BRIEF_WAIT {
                let note = || self.0.cache.note_failure(&request.key, StaleReason::UpstreamUnavailable);
                self.0.epochs.if_current(request.epoch, note);
            }
            Err(Failure::Unavailable)
        })
    }

    /// Waits for a fetch. The one in flight may have started too early for the requirement, or may
    /// use a less conclusive method. So may the next one, if another caller started it first. A fetch
    /// may also take longer than the allowed age.
    async fn fetched(&self, request: &LookupRequest<'_>, deadline: Instant) -> Result<Answer, Failure> {
        let cognito = self.cognito(&request.key.pool)?;
        let limiter = cognito.limiter();
        let expected_at = |fetch: FetchId| limiter.join(fetch, request.account, deadline);
        let fetch = |reporter| self.clone().fetch(request.fetch(request.account, deadline, reporter));
        let (caller, cached) = (request.account.caller(), || self.fresh(request));
        for _ in 0..MAX_TRIES {
            let key = request.key.clone();
            let fetched = self.0.single_flight.join(key, caller, deadline, cached, expected_at, fetch).await;
            let now = BootTime::now();
            match fetched {
                Ok(Fetched { entry, source })
                    if (source != Source::Cognito || now - entry.began.boot < LONGEST_FETCH)
                        && entry.satisfies(request.method, request.requirement, now)
                        && !self.has_old_groups(&request.key, &entry) =>
                {
                    return Ok(Answer::of(&entry, source, None, now));
                }
                Err(error) if error.is_final_for(request.method) => return Err(error.failure),
                Ok(_) | Err(_) => {}
            }
        }
        Err(Failure::Unavailable)
    }

    /// Returns the fresh entry that another fetch has just cached, if any. A stale one would pass
    /// for a new result.
    fn fresh(&self, request: &LookupRequest<'_>) -> Option<CacheEntry> {
        let entry = self.cached_entry(request)?;
        let decision = self.decide(request, &entry, BootTime::now());
        matches!(decision, Decision::Serve | Decision::ServeAndRefresh).then_some(entry)
    }

    /// Returns the cached entry, which is stale if the members of a group changed since its fetch.
    fn cached_entry(&self, request: &LookupRequest<'_>) -> Option<CacheEntry> {
        let entry = self.0.cache.get(&request.key)?;
        let expired = entry.expired || self.has_old_groups(&request.key, &entry);
        Some(CacheEntry { expired, ..entry })
    }

    /// Returns whether an entry has groups from before the members of some group of the pool changed.
    pub(super) fn has_old_groups(&self, key: &Key, entry: &CacheEntry) -> bool {
        key.kind == EntryKind::Groups && self.0.group_changes.outdates_entry(&key.pool, entry.began.boot)
    }

    /// Looks in the cache. Only a hit here schedules a refresh, so a dormant user is never fetched:
    /// Cognito bills every user it looks up as monthly active.
    fn look_up(&self, request: &LookupRequest<'_>) -> CacheLookup {
        let (now, latest) = (BootTime::now(), self.cached_entry(request));
        let Some(entry) = latest else { return CacheLookup::Miss };
        let (lookup, stale_reason) = match self.decide(request, &entry, now) {
            Decision::Fetch => return CacheLookup::Miss,
            Decision::FetchOrStale => return CacheLookup::Stale,
            Decision::Serve if matches!(entry.content, Content::Absent(_)) => (LookupOutcome::Absent, None),
            Decision::Serve => (LookupOutcome::Fresh, None),
            Decision::ServeAndRefresh => {
                self.refresh(request);
                (LookupOutcome::Refreshing, None)
            }
            Decision::ServeStale(reason) => (LookupOutcome::Stale, Some(reason)),
        };
        CacheLookup::Hit(lookup, Answer::of(&entry, Source::Cache, stale_reason, now))
    }

    /// Looks in the cache again after the fetch has failed, because the entry may have changed.
    fn stale(&self, request: &LookupRequest<'_>, reason: StaleReason) -> Option<Answer> {
        let now = BootTime::now();
        let entry = self.cached_entry(request)?.failed(now, reason);
        let stale_reason = match self.0.ttls.decide(&entry, request.method, request.requirement, now) {
            Decision::Fetch | Decision::FetchOrStale => return None,
            Decision::Serve | Decision::ServeAndRefresh => None,
            Decision::ServeStale(reason) => Some(reason),
        };
        Some(Answer::of(&entry, Source::Cache, stale_reason, now))
    }

    fn refresh(&self, request: &LookupRequest<'_>) {
        let now = Instant::now();
        let account = Account { priority: Priority::Background, ..request.account };
        let fetch = |reporter| self.clone().fetch(request.fetch(account, now, reporter));
        if self.0.single_flight.refresh(request.key.clone(), fetch) {
            self.0.cache_metrics.refreshes.inc();
        }
    }

    /// Decides what to do with an entry. One that may have been invalidated elsewhere is confirmed by
    /// the shared cache first; a fetch does so.
    fn decide(&self, request: &LookupRequest<'_>, entry: &CacheEntry, now: BootTime) -> Decision {
        let decision = self.0.ttls.decide(entry, request.method, request.requirement, now);
        match &self.0.shared {
            Some(shared) if decision != Decision::Fetch && shared.is_suspect(entry) => Decision::FetchOrStale,
            Some(_) | None => decision,
        }
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

const MAX_TRIES: usize = 6;
// A fetch ends within some 2 s, unless the machine sleeps. What it read may then be old.
const LONGEST_FETCH: Duration = Duration::from_secs(10);
// Cognito answers within a fraction of it, and a caller with a usable entry should not wait out a
// call that hangs.
pub(super) const BRIEF_WAIT: Duration = Duration::from_millis(500);
