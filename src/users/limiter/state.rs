//! The fetches that call or wait, and the calls that count. Every decision follows from them and
//! the time given; pure.

use std::{collections::HashMap, mem, sync::Arc};

use tokio::{
    sync::Notify,
    time::{Duration, Instant},
};

use super::{
    Account, CallKind, Priority,
    categories::Categories,
    category::QuotaCategory,
    queue::{FetchId, Place},
    retry_budget::RetryBudget,
    shared::{Gate, Payment},
    sliding_log::{SlidingLog, WINDOW},
};
use crate::{
    config::BudgetSettings,
    policy::CallerRateLimit,
    users::{Failure, cache::Key},
};

/// The queues of every category, and the calls of every user and caller.
#[derive(Debug)]
pub(super) struct LimiterState {
    pub(super) categories: Categories,
    /// The users that a call was about within the last second.
    pub(super) users: HashMap<Key, SlidingLog>,
    /// The calls of the callers that have a limit of their own.
    pub(super) callers: HashMap<usize, SlidingLog>,
    pub(super) fetches: HashMap<FetchId, FetchState>,
    /// None if the rate is of this process alone.
    pub(super) shared: Option<Gate>,
    retry_budget: RetryBudget,
    /// Whether a task begins waiting calls.
    pub(super) is_driven: bool,
}

/// A fetch, from its first call to its end.
#[derive(Debug)]
pub(super) struct FetchState {
    pub(super) account: Account,
    pub(super) user: Key,
    /// Its call begins before this, or never.
    pub(super) deadline: Instant,
    pub(super) call: CallState,
    /// The number of the request to the store for the call.
    pub(super) asked: Option<u64>,
    /// Wakes the fetch when its call begins.
    woken: Arc<Notify>,
}

impl FetchState {
    /// Returns until when its call waits.
    pub(super) fn gives_up_at(&self) -> Instant {
        self.deadline.checked_sub(LEAST_TIME).unwrap_or(self.deadline)
    }
}

/// How far the call of a fetch has come.
#[derive(Clone, Copy, Debug)]
pub(super) enum CallState {
    /// It has none at present.
    None,
    Waiting(QuotaCategory, CallKind),
    /// It lost its place, and does not know yet.
    Refused(QuotaCategory, Failure),
    Begun {
        category: QuotaCategory,
        /// The caller on whose account it is; none for a background call.
        payer: Option<usize>,
        /// The limit of its own that it is charged to.
        limit: Option<usize>,
        payment: Payment,
        at: Instant,
    },
}

impl LimiterState {
    pub(super) fn new(settings: &BudgetSettings) -> Self {
        Self {
            categories: Categories::new(settings),
            users: HashMap::new(),
            callers: HashMap::new(),
            fetches: HashMap::new(),
            shared: None,
            retry_budget: RetryBudget::default(),
            is_driven: false,
        }
    }

    /// Makes the rates those of all replicas together, at most so many.
    pub(super) fn share(&mut self, replicas_at_most: usize, now: Instant) {
        self.shared = Some(Gate::new(now));
        for category in QuotaCategory::ALL {
            self.categories.get_mut(category).allowance.share(replicas_at_most);
        }
    }

    /// Adds a fetch of `user`, which has no call yet.
    pub(super) fn open(
        &mut self,
        id: FetchId,
        account: Account,
        user: Key,
        woken: Arc<Notify>,
        now: Instant,
    ) {
        let (call, asked) = (CallState::None, None);
        self.fetches.insert(id, FetchState { account, user, deadline: now, call, asked, woken });
    }

    /// Removes a fetch. A call that has not ended counts as unanswered.
    pub(super) fn close(&mut self, id: FetchId, now: Instant) {
        self.end(id, false, now);
        self.fetches.remove(&id);
    }

    /// Queues a call of the fetch, and begins it if it is its turn. Fails if it is not expected to
    /// begin in time before `deadline`. A background call begins now or fails.
    pub(super) fn queue(
        &mut self,
        id: FetchId,
        category: QuotaCategory,
        kind: CallKind,
        deadline: Instant,
        now: Instant,
    ) -> Result<(), Failure> {
        if kind == CallKind::Retry && !self.retry_budget.spend() {
            return Err(Failure::Unavailable);
        }
        self.end(id, false, now);
        let fetch = self.fetches.get_mut(&id).ok_or(Failure::Internal)?;
        (fetch.deadline, fetch.call) = (deadline, CallState::Waiting(category, kind));
        let priority = fetch.account.priority;
        if priority != Priority::Background {
            self.categories.get_mut(category).enqueue(fetch.account, Place::of(id, kind, priority));
        }
        self.dispatch(category, now);
        if let Some(begins_at) = self.expected_at(id, now) {
            if priority == Priority::Background && begins_at <= now {
                if let Err(failure) = self.begin_background(id, category, now) {
                    self.end(id, false, now);
                    return Err(failure);
                }
            } else if self.is_throttled(category, priority, begins_at, now) {
                self.end(id, false, now);
                // Not our own limit, and waiting rarely helps.
                return Err(Failure::Throttled);
            } else if priority == Priority::Background || begins_at + CALL_TIME > deadline {
                self.end(id, false, now);
                return Err(Failure::BudgetExhausted(begins_at - now));
            }
        }
        if kind != CallKind::Retry {
            self.retry_budget.earn();
        }
        Ok(())
    }

    /// Returns the category in which the fetch waits for a call, if it does.
    pub(super) fn waits_in(&self, id: FetchId) -> Option<QuotaCategory> {
        match self.fetches.get(&id)?.call {
            CallState::Waiting(category, _) | CallState::Refused(category, _) => Some(category),
            CallState::None | CallState::Begun { .. } => None,
        }
    }

    /// Takes the place of a waiting call, and lets its fetch know why.
    pub(super) fn refuse(&mut self, id: FetchId, failure: Failure) {
        let Some(fetch) = self.fetches.get_mut(&id) else { return };
        let CallState::Waiting(category, kind) = fetch.call else { return };
        fetch.call = CallState::Refused(category, failure);
        let place = Place::of(id, kind, fetch.account.priority);
        self.categories.get_mut(category).dequeue(fetch.account.caller(), place);
        fetch.woken.notify_one();
    }

    fn begin_background(
        &mut self,
        id: FetchId,
        category: QuotaCategory,
        now: Instant,
    ) -> Result<(), Failure> {
        if self.shared.is_some() {
            return self.begin_in_background(id, category, now);
        }
        self.begin(id, Payment::Own, now);
        Ok(())
    }

    fn is_throttled(
        &self,
        category: QuotaCategory,
        priority: Priority,
        begins_at: Instant,
        now: Instant,
    ) -> bool {
        let queue = self.categories.get(category);
        match self.shared {
            Some(_) => queue.allowance.aimd.factor(now) < 1.0 && begins_at > now,
            None => queue.is_throttled(priority, now),
        }
    }

    /// Ends the call of the fetch, if it has begun, or else gives up its place in the queue.
    pub(super) fn end(&mut self, id: FetchId, is_answered: bool, now: Instant) {
        let Some(fetch) = self.fetches.get_mut(&id) else { return };
        match mem::replace(&mut fetch.call, CallState::None) {
            CallState::None | CallState::Refused(..) => {}
            CallState::Waiting(category, kind) => {
                let place = Place::of(id, kind, fetch.account.priority);
                self.categories.get_mut(category).dequeue(fetch.account.caller(), place);
            }
            CallState::Begun { category, payer, limit, payment, at } => {
                // A request without a response may still be on its way: TCP repeats what is lost.
                let counts_for = if is_answered { WINDOW } else { 2 * WINDOW };
                let leaves_at = now + counts_for;
                if let Some(gate) = &mut self.shared {
                    gate.end(payment, category, (&fetch.user, payer.zip(limit)), (counts_for, now));
                }
                let queue = self.categories.get_mut(category);
                queue.end(payer, leaves_at);
                if is_answered {
                    queue.observe(now.saturating_duration_since(at));
                }
                if let Some(user) = self.users.get_mut(&fetch.user) {
                    user.end(leaves_at);
                }
                let caller = payer.and_then(|payer| self.callers.get_mut(&payer));
                if let (Some(caller), Some(limit)) = (caller, limit) {
                    caller.end_in_turn(limit, leaves_at);
                }
            }
        }
    }

    /// Removes the users that no call was about within the last second.
    pub(super) fn prune(&mut self, now: Instant) {
        self.users.retain(|_, log| log.empty_at(now).is_some());
    }

    /// Removes a user, or returns when it may be removed.
    pub(super) fn forget(&mut self, user: &Key, now: Instant) -> Option<Instant> {
        let empty_at = self.users.get(user)?.empty_at(now);
        if empty_at.is_none() {
            self.users.remove(user);
        }
        empty_at
    }

    /// Begins the waiting call of the fetch.
    pub(super) fn begin(&mut self, id: FetchId, payment: Payment, now: Instant) {
        let Some(fetch) = self.fetches.get_mut(&id) else { return };
        let CallState::Waiting(category, kind) = fetch.call else { return };
        let Account { priority, caller_limit: CallerRateLimit { caller, misses_per_second } } = fetch.account;
        let queue = self.categories.get_mut(category);
        queue.dequeue(caller, Place::of(id, kind, priority));
        let payer = (priority != Priority::Background).then_some(caller);
        queue.begin(payer, now);
        // Cognito failed: the retry is not another miss of the caller.
        let limit = misses_per_second.filter(|_| payer.is_some() && kind != CallKind::Retry);
        if limit.is_some() {
            self.callers.entry(caller).or_default().begin(now);
        }
        fetch.call = CallState::Begun { category, payer, limit, payment, at: now };
        fetch.woken.notify_one();
        let user = fetch.user.clone();
        if let Some(gate) = self.shared.as_mut().filter(|_| payment == Payment::CutOff) {
            gate.begin_cut_off(category, now);
        }
        // Prunes before the map grows, so that it has about as many users as one second's calls.
        if self.users.len() == self.users.capacity() {
            self.prune(now);
        }
        self.users.entry(user).or_default().begin(now);
    }
}

// Cognito's quota of reads of one user (developer guide, "Quotas in Amazon Cognito"); it cannot be
// raised.
pub(super) const READS_OF_ONE_USER: usize = 10;
// AdminGetUser takes some tens of milliseconds; with less time left the caller would not see its
// answer.
pub(in crate::users) const CALL_TIME: Duration = Duration::from_millis(100);
// A call whose turn comes a little later than expected still begins.
pub(in crate::users) const LEAST_TIME: Duration = Duration::from_millis(50);
