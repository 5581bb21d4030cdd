//! Which calls the store is asked for; pure.

use std::mem;

use tokio::time::Instant;

use super::{
    Account, CallKind, Priority,
    category::QuotaCategory,
    queue::FetchId,
    shared::{Ask, AskingCaller, Outbox},
    state::{CallState, LEAST_TIME, LimiterState},
};
use crate::shared_cache::rate_limit::{GRANT_TIME, OwnLimit};

impl LimiterState {
    /// Sends takes for the calls of each caller, in queue order.
    pub(super) fn ask_for_all(&mut self, category: QuotaCategory, now: Instant) -> Option<Instant> {
        let gate = self.shared.as_ref()?;
        gate.contact.clock(now)?;
        let wall_opens_at = self.categories.get(category).wall_opens_at(now);
        if wall_opens_at > now {
            return Some(wall_opens_at);
        }
        #[expect(clippy::needless_collect, reason = "each call changes the queues")]
        let callers: Vec<_> = self.categories.get(category).callers().map(|(caller, _)| caller).collect();
        callers.into_iter().filter_map(|caller| self.ask_for_caller(category, caller, now)).min()
    }

    fn ask_for_caller(&mut self, category: QuotaCategory, caller: usize, now: Instant) -> Option<Instant> {
        loop {
            let (fetch, allowed_at) = self.first_to_ask_for(category, caller, now);
            let Some(fetch) = fetch else { return allowed_at };
            let opens_at = self.shared.as_mut()?.of_mut(category).lane(Some(caller)).opens_at(now)?;
            if opens_at > now {
                return Some(opens_at);
            }
            self.ask_for(fetch, category, now);
        }
    }

    /// Returns the caller's first waiting call without a take in flight that the limits of its user and
    /// of the caller allow now; if there is none, when the next one is allowed. A call that
    /// would be given up before the answer is passed over: its grant would be wasted, and a full queue
    /// has such a call at its head most of the time.
    fn first_to_ask_for(
        &self,
        category: QuotaCategory,
        caller: usize,
        now: Instant,
    ) -> (Option<FetchId>, Option<Instant>) {
        let answered_at = self.shared.as_ref().map_or(now, |gate| gate.contact.answered_at(now));
        let mut earliest: Option<Instant> = None;
        for place in self.categories.get(category).waiting_of(caller) {
            let fetch = self.fetches.get(&place.fetch);
            if fetch.is_none_or(|fetch| fetch.asked.is_some() || fetch.gives_up_at() <= answered_at) {
                continue;
            }
            let at = self.allowed_at(place.fetch, now);
            if at <= now {
                return (Some(place.fetch), None);
            }
            earliest = Some(earliest.map_or(at, |earlier| earlier.min(at)));
        }
        (None, earliest)
    }

    /// Asks the store for the waiting call of the fetch.
    pub(super) fn ask_for(&mut self, id: FetchId, category: QuotaCategory, now: Instant) {
        let Some(fetch) = self.fetches.get(&id) else { return };
        let CallState::Waiting(_, kind) = fetch.call else { return };
        let (account, user) = (fetch.account, fetch.user.clone());
        let queue = self.categories.get(category);
        let asked = queue.waiting_of(account.caller()).filter(|place| self.is_asked_for(place.fetch)).count();
        let others_wait = queue.waiting_of(account.caller()).count() > asked + 1;
        let is_foreground = account.priority != Priority::Background;
        let caller = is_foreground.then(|| AskingCaller {
            index: account.caller(),
            own_limit: own_limit(account, kind),
            others_wait,
        });
        let limit = queue.allowance.per_second();
        let Some(gate) = &mut self.shared else { return };
        let number = gate.new_number();
        gate.of_mut(category).lane(caller.map(|caller| caller.index)).ask();
        gate.outbox.asks.push(Ask { number, fetch: id, category, limit, user, caller });
        let deadline = now + 2 * GRANT_TIME + LEAST_TIME;
        if let Some(fetch) = self.fetches.get_mut(&id) {
            fetch.asked = Some(number);
            // It begins with the answer or not at all.
            fetch.deadline = if is_foreground { fetch.deadline } else { deadline };
        }
    }

    fn is_asked_for(&self, id: FetchId) -> bool {
        self.fetches.get(&id).is_some_and(|fetch| fetch.asked.is_some())
    }

    /// Returns what is to be sent to the store, and takes it as sent.
    pub(super) fn take_outbox(&mut self) -> Outbox {
        self.shared.as_mut().map(|gate| mem::take(&mut gate.outbox)).unwrap_or_default()
    }
}

/// Returns the limit of the caller's own that the call is charged to.
fn own_limit(account: Account, kind: CallKind) -> Option<OwnLimit> {
    let per_second = account.caller_limit.misses_per_second.filter(|_| kind != CallKind::Retry)?;
    Some(OwnLimit { per_second, delays: kind == CallKind::First })
}
