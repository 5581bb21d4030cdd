//! Whose turn it is, and when a turn is expected to come; pure.

use tokio::time::{Duration, Instant};

use super::{
    Account, CallKind, Priority,
    category::QuotaCategory,
    queue::{FetchId, Place},
    shared::Payment,
    sliding_log::WINDOW,
    state::{CALL_TIME, CallState, FetchState, LimiterState, READS_OF_ONE_USER},
};
use crate::users::{Failure, cache::Key};

impl LimiterState {
    /// As [`dispatch`](Self::dispatch), for every category.
    pub(super) fn dispatch_all(&mut self, now: Instant) -> Option<Instant> {
        let turns = QuotaCategory::ALL.map(|category| self.dispatch(category, now));
        let turn = turns.into_iter().flatten().min();
        self.is_driven = turn.is_some();
        // After a cut the rate recovers with time alone.
        turn.map(|turn| turn.min(now + RECOVERY_STEP))
    }

    /// Adds an account to those that wait for the fetch, and returns when its call is expected to
    /// begin; none if it does not wait for one. If the account would be served earlier than the
    /// one that the fetch is on, and in time for `deadline`, the fetch goes over to it. If neither
    /// is in time, returns the earlier of the two.
    pub(super) fn join(
        &mut self,
        id: FetchId,
        account: Account,
        deadline: Instant,
        now: Instant,
    ) -> Option<Instant> {
        let Some(expected_at) = self.expected_at(id, now) else {
            let fetch = self.fetches.get_mut(&id)?;
            fetch.account = if account.priority > fetch.account.priority { account } else { fetch.account };
            return None;
        };
        let fetch = self.fetches.get(&id)?;
        let CallState::Waiting(category, kind) = fetch.call else { return None };
        let own_at = self.expected_on(account, fetch, id, now)?;
        let earliest = expected_at.min(own_at);
        if earliest + CALL_TIME > deadline {
            return Some(earliest);
        }
        if own_at < expected_at {
            let fetch = self.fetches.get_mut(&id)?;
            let queue = self.categories.get_mut(category);
            queue.dequeue(fetch.account.caller(), Place::of(id, kind, fetch.account.priority));
            queue.enqueue(account, Place::of(id, kind, account.priority));
            fetch.account = account;
            self.dispatch(category, now);
        }
        let fetch = self.fetches.get_mut(&id)?;
        if kind == CallKind::First {
            fetch.deadline = fetch.deadline.max(deadline);
        }
        self.expected_at(id, now)
    }

    /// Returns until when the call of the fetch may wait; none if it has begun. Fails, and gives
    /// up its place, if that has passed.
    pub(super) fn waits_until(&mut self, id: FetchId, now: Instant) -> Result<Option<Instant>, Failure> {
        if let Some(CallState::Refused(_, failure)) = self.fetches.get(&id).map(|fetch| fetch.call) {
            return Err(failure);
        }
        let Some(expected_at) = self.expected_at(id, now) else { return Ok(None) };
        let gives_up_at = self.fetches.get(&id).ok_or(Failure::Internal)?.gives_up_at();
        if gives_up_at <= now {
            self.end(id, false, now);
            return Err(Failure::BudgetExhausted(expected_at.saturating_duration_since(now)));
        }
        Ok(Some(gives_up_at))
    }

    /// Returns how many foreground calls could begin within a second, and how many a second are
    /// allowed.
    pub(super) fn left(&self, category: QuotaCategory, now: Instant) -> (usize, usize) {
        let queue = self.categories.get(category);
        let rate = queue.allowance.rate(Priority::Single, now);
        let rate = self.shared.as_ref().map_or(rate, |gate| gate.rate(category, &queue.allowance, now));
        (rate.saturating_sub(queue.count(now)), rate)
    }

    /// Begins the waiting calls of a category whose turn it is. Returns when the next one's turn
    /// may come; none if none waits.
    pub(super) fn dispatch(&mut self, category: QuotaCategory, now: Instant) -> Option<Instant> {
        if self.shared.is_some() {
            return self.dispatch_shared(category, now);
        }
        loop {
            let queue = self.categories.get(category);
            if !queue.has_waiting() {
                return None;
            }
            let opens_at = queue.opens_at(Priority::Single, now);
            if opens_at > now {
                return Some(opens_at);
            }
            match self.next(category, now) {
                Ok(fetch) => self.begin(fetch, Payment::Own, now),
                Err(allowed_at) => return allowed_at,
            }
        }
    }

    /// Returns the fetch whose turn it is: of the caller with the fewest calls that count, the
    /// first that its user and its caller's own limit allow. Fails with the time at which one is
    /// allowed.
    pub(super) fn next(&self, category: QuotaCategory, now: Instant) -> Result<FetchId, Option<Instant>> {
        let (mut next, mut allowed_at) = (None, None::<Instant>);
        for (_, queue) in self.categories.get(category).callers() {
            for place in &queue.waiting {
                let at = self.allowed_at(place.fetch, now);
                if at <= now {
                    let turn = (queue.count(now), *place);
                    next = Some(next.map_or(turn, |next| turn.min(next)));
                    break;
                }
                allowed_at = Some(allowed_at.map_or(at, |earlier| earlier.min(at)));
            }
        }
        next.map(|(_, place)| place.fetch).ok_or(allowed_at)
    }

    /// Returns when the user and its caller's own limit allow the call of the fetch.
    pub(super) fn allowed_at(&self, id: FetchId, now: Instant) -> Instant {
        let Some(fetch) = self.fetches.get(&id) else { return now };
        let CallState::Waiting(_, kind) = fetch.call else { return now };
        self.limits_allow(fetch.account, kind, &fetch.user, 0, now)
    }

    fn limits_allow(
        &self,
        account: Account,
        kind: CallKind,
        user: &Key,
        queued: usize,
        now: Instant,
    ) -> Instant {
        let user = self.users.get(user).map(|log| log.opens_at(READS_OF_ONE_USER, 0, WINDOW, now));
        let limit = account.own_limit().filter(|_| kind == CallKind::First);
        let caller = limit.and_then(|(caller, limit)| {
            Some(self.callers.get(&caller)?.opens_at(limit, queued, WINDOW, now))
        });
        user.max(caller).unwrap_or(now)
    }

    /// Returns when the waiting call of the fetch is expected to begin; none if it does not wait.
    pub(super) fn expected_at(&self, id: FetchId, now: Instant) -> Option<Instant> {
        let fetch = self.fetches.get(&id)?;
        self.expected_on(fetch.account, fetch, id, now)
    }

    /// Returns when the waiting call of the fetch would be expected to begin if it were on this
    /// account; none if it does not wait.
    pub(super) fn expected_on(
        &self,
        account: Account,
        fetch: &FetchState,
        id: FetchId,
        now: Instant,
    ) -> Option<Instant> {
        let CallState::Waiting(category, kind) = fetch.call else { return None };
        if self.shared.is_some() {
            let place = Place::of(id, kind, account.priority);
            let queued = self.categories.get(category).before(account.caller(), place);
            let allowed_at = self.limits_allow(account, kind, &fetch.user, queued, now);
            return Some(self.expected_shared(account, category, place, now).max(allowed_at));
        }
        if account.priority == Priority::Background {
            let opens_at = self.categories.get(category).opens_at(account.priority, now);
            return Some(opens_at.max(self.limits_allow(account, kind, &fetch.user, 0, now)));
        }
        let (queue, place) = (self.categories.get(category), Place::of(id, kind, account.priority));
        let queued = queue.before(account.caller(), place);
        let allowed_at = self.limits_allow(account, kind, &fetch.user, queued, now);
        Some(queue.expected_at(account.caller(), place, now).max(allowed_at))
    }
}

const RECOVERY_STEP: Duration = Duration::from_millis(100);
