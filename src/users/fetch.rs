//! One fetch: look in the shared cache, acquire the rate limit, call Cognito, cache the result. No
//! request owns it.

use std::sync::Arc;

use tokio::task::yield_now;

use super::{
    Failure, Invalidation, Users,
    cache::{EntryKind, Key},
    cognito::Access,
    entry::{CacheEntry, Content, LookupMethod},
    fetch_request::FetchRequest,
    limiter::{CallKind, QuotaCategory, Ticket},
    shared::{Lease, Stored, Turn},
    single_flight::{FetchError, FetchResult, Fetched, Reporter},
};
use crate::{
    clock::TimePoint,
    freshness::StaleReason,
    user::{User, Username},
};

/// What Cognito answered to a fetch.
struct Answered {
    began: TimePoint,
    method: LookupMethod,
    fetched: Result<Content, Failure>,
}

impl Users {
    /// Gets the user from the shared cache, or from Cognito for all replicas, and caches it. Without
    /// a shared cache it fails at once, before its first wait, if the rate limit has no call left
    /// before the deadline.
    pub(super) async fn fetch(self, mut request: FetchRequest) -> FetchResult {
        let turn = match &self.0.shared {
            Some(shared) if shared.is_available() => self.turn(&mut request, shared).await,
            Some(_) | None => Turn::Fetch(None),
        };
        match turn {
            Turn::Found(fetched) => Ok(fetched),
            Turn::Failed(error) => Err(error),
            Turn::Fetch(None) => {
                let answer = self.fetch_from_cognito(&request).await?;
                self.finish(&request, answer, None).await
            }
            Turn::Fetch(Some(lease)) => {
                let answer = lease.held_while(self.fetch_from_cognito(&request)).await?;
                self.finish(&request, answer, Some(lease)).await
            }
        }
    }

    /// Waits for the rate limit, and asks Cognito.
    async fn fetch_from_cognito(&self, request: &FetchRequest) -> Result<Answered, Failure> {
        let ticket = self.queue(request)?;
        let access = Access { ticket: &ticket, reporter: &request.reporter };
        access.reporter.queued();
        // The request polls only up to here; a task runs the rest.
        yield_now().await;
        ticket.begun().await?;
        access.reporter.calling();
        let began = TimePoint::now();
        let (method, fetched) = self.ask_cognito(request, access).await;
        Ok(Answered { began, method, fetched })
    }

    /// Caches what Cognito answered, here and, with the lease, for all replicas.
    async fn finish(
        &self,
        request: &FetchRequest,
        Answered { began, method, fetched }: Answered,
        lease: Option<Lease>,
    ) -> FetchResult {
        match fetched {
            Ok(content) => {
                let (mut entry, old) = (CacheEntry::new(content, began), self.entry_to_compare(&request.key));
                if entry.content.is_gone() {
                    self.note_gone(&request.key);
                    if lease.is_some() && !self.is_cached_as_gone(&request.key) {
                        // First, because a read would get the older entry until the store answers.
                        self.forget(&request.key, &request.reporter);
                    }
                }
                let stored = match lease {
                    Some(lease) => lease.put(&mut entry).await,
                    None => Stored::Accepted,
                };
                match stored {
                    Stored::Accepted => self.keep(request, &entry),
                    Stored::Refused if entry.content.is_gone() => {
                        self.forget(&request.key, &request.reporter)
                    }
                    Stored::Refused => {}
                }
                self.announce_difference(&request.key, old, &entry);
                Ok(Fetched::from_origin(entry))
            }
            Err(failure) => {
                let error = FetchError { failure, method: Some(method) };
                // The cached name belongs to another user now, or to none, so the cached user is gone.
                if error.says_gone() {
                    self.note_gone(&request.key);
                    self.forget(&request.key, &request.reporter);
                }
                self.0.epochs.if_current(request.epoch, || self.note_failure(&request.key, failure));
                if let Some(lease) = lease {
                    lease.fail(error);
                }
                Err(error)
            }
        }
    }

    /// Notes that the user is gone for what is read from the shared cache.
    fn note_gone(&self, key: &Key) {
        if let Some(shared) = &self.0.shared {
            shared.note_gone(key);
        }
    }

    /// Caches the result of a fetch in this process, unless the user was invalidated since the
    /// request arrived. If that result says that the user is gone, nothing older stays.
    pub(super) fn keep(&self, request: &FetchRequest, entry: &CacheEntry) {
        let put = || self.0.cache.put(request.key.clone(), entry.clone());
        let is_put = self.0.epochs.if_current(request.epoch, put).is_some();
        if entry.content.is_gone() && !(is_put && self.is_cached_as_gone(&request.key)) {
            self.forget(&request.key, &request.reporter);
        }
    }

    fn queue(&self, request: &FetchRequest) -> Result<Ticket, Failure> {
        let cognito = self.cognito(&request.key.pool)?;
        let category = match request.username_for_groups {
            None => cognito.category(&request.lookup_key),
            Some(_) => QuotaCategory::GroupReads,
        };
        // Before the rate limit, so that calls that are not made leave it to others.
        cognito.check_circuit(category)?;
        let user = request.key.with_kind(EntryKind::Profile);
        let ticket = cognito.limiter().open(request.reporter.id, request.account, user);
        ticket.queue(category, CallKind::First, request.deadline)?;
        Ok(ticket)
    }

    async fn ask_cognito(
        &self,
        request: &FetchRequest,
        access: Access<'_>,
    ) -> (LookupMethod, Result<Content, Failure>) {
        match &request.username_for_groups {
            None => self.ask_for_user(request, access).await,
            Some(name) => (LookupMethod::ByUsername, self.ask_for_groups(request, access, name).await),
        }
    }

    async fn ask_for_user(
        &self,
        request: &FetchRequest,
        access: Access<'_>,
    ) -> (LookupMethod, Result<Content, Failure>) {
        let FetchRequest { key, lookup_key, .. } = request;
        let cognito = match self.cognito(&key.pool) {
            Ok(cognito) => cognito,
            Err(failure) => return (lookup_key.into(), Err(failure)),
        };
        let username = self.cached_username(key);
        let (method, fetched) = cognito.fetch_user(key, lookup_key, username.as_ref(), access).await;
        let content = |user: Option<User>| match user {
            None => Content::Absent(method),
            Some(user) => Content::Present(Arc::new(user)),
        };
        (method, fetched.map(content))
    }

    async fn ask_for_groups(
        &self,
        request: &FetchRequest,
        access: Access<'_>,
        name: &Username,
    ) -> Result<Content, Failure> {
        let user = request.key.with_kind(EntryKind::Profile);
        let groups = self.cognito(&user.pool)?.fetch_groups(&user, name, access).await?;
        groups.map(|(groups, enabled)| Content::Groups(groups, enabled)).ok_or(Failure::NoSuchUser)
    }

    /// Removes what is cached of a user that the fetch of `reporter` found disabled or deleted. If
    /// another fetch of it is in flight, which may have begun earlier, its result is not cached.
    fn forget(&self, key: &Key, reporter: &Reporter) {
        let profile = key.with_kind(EntryKind::Profile);
        if self.0.single_flight.has_other(&profile, reporter) {
            self.invalidate_entries(&key.pool, &key.sub, Invalidation::Forget);
        } else {
            self.0.cache.remove(&profile);
        }
    }

    /// Returns whether the user is cached as disabled or deleted, and no fetch can change that which
    /// began earlier than this call. A fetch of groups says it of the profile, another entry.
    fn is_cached_as_gone(&self, key: &Key) -> bool {
        let profile = key.with_kind(EntryKind::Profile);
        let is_gone = self.0.cache.get(&profile).is_some_and(|entry| entry.content.is_gone());
        is_gone && (key.kind == EntryKind::Profile || !self.0.single_flight.has(&profile))
    }

    /// Notes on the cached entry what a failed fetch says about it.
    fn note_failure(&self, key: &Key, failure: Failure) {
        match failure.stale_reason() {
            // Our own refusal, which costs nothing to repeat; another caller may have rate limit
            // left.
            Some(StaleReason::BudgetExhausted) => {}
            Some(reason) => self.0.cache.note_failure(key, reason),
            None => {}
        }
    }

    fn cached_username(&self, key: &Key) -> Option<Username> {
        match self.0.cache.get(key)?.content {
            Content::Absent(_) | Content::Groups(..) => None,
            Content::Present(user) => Some(user.username.clone()),
        }
    }
}
