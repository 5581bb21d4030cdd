//! Which calls begin, and which ones the store is asked for; pure.

use std::mem;

use tokio::time::{Duration, Instant};

use super::{
    Account, CallKind, Priority,
    category::QuotaCategory,
    queue::{FetchId, Place},
    shared::{Ask, AskingCaller, Outbox, Payment, Reading, Scope},
    sliding_log::WINDOW,
    state::{CallState, LEAST_TIME, LimiterState},
};
use crate::{
    shared_cache::{
        CallError,
        rate_limit::{GRANT_TIME, OwnLimit, Synced, TakeOutcome, Taken},
    },
    users::Failure,
};

impl LimiterState {
    /// Begins the calls that the cut-off allowance lets begin, and asks the store for others. Returns
    /// when there may be more to do; none if only the store's answers matter.
    pub(in crate::users::limiter) fn dispatch_shared(
        &mut self,
        category: QuotaCategory,
        now: Instant,
    ) -> Option<Instant> {
        if !self.categories.get(category).has_waiting() {
            return None;
        }
        let cut_off = self.begin_cut_off(category, now);
        let asked = self.ask_for_all(category, now);
        cut_off.into_iter().chain(asked).min()
    }

    /// Begins calls of the cut-off allowance. Returns when the next one may begin.
    fn begin_cut_off(&mut self, category: QuotaCategory, now: Instant) -> Option<Instant> {
        loop {
            let gate = self.shared.as_ref()?;
            if let Some(gives_up_at) = gate.contact.gives_up_at(now) {
                return Some(gives_up_at);
            }
            let queue = self.categories.get(category);
            if gate.scope(now) == Scope::Shared || !queue.has_waiting() {
                return None;
            }
            let opens_at = gate.of(category).cut_off.opens_at(queue.allowance.cut_off(now), 0, WINDOW, now);
            let opens_at = opens_at.max(queue.wall_opens_at(now));
            if opens_at > now {
                return Some(opens_at);
            }
            match self.next(category, now) {
                Ok(fetch) => self.begin(fetch, Payment::CutOff, now),
                Err(allowed_at) => return allowed_at,
            }
        }
    }

    /// Asks for the calls of each caller, the first first.
    fn ask_for_all(&mut self, category: QuotaCategory, now: Instant) -> Option<Instant> {
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

    /// Returns the first call of the caller that its user and its own limit allow, and that the store
    /// is not asked for; or when one is allowed.
    fn first_to_ask_for(
        &self,
        category: QuotaCategory,
        caller: usize,
        now: Instant,
    ) -> (Option<FetchId>, Option<Instant>) {
        let mut earliest: Option<Instant> = None;
        for place in self.categories.get(category).waiting_of(caller) {
            if self.fetches.get(&place.fetch).is_none_or(|fetch| fetch.asked.is_some()) {
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
    fn ask_for(&mut self, id: FetchId, category: QuotaCategory, now: Instant) {
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

    /// Begins a background call of the cut-off allowance, or asks the store for one. Fails if neither
    /// may be.
    pub(in crate::users::limiter) fn begin_in_background(
        &mut self,
        id: FetchId,
        category: QuotaCategory,
        now: Instant,
    ) -> Result<(), Failure> {
        let Some(gate) = &mut self.shared else { return Err(Failure::Internal) };
        if gate.scope(now) != Scope::Shared {
            let most = (self.categories.get(category).allowance.cut_off(now) / 2).max(1);
            let opens_at = gate.of(category).cut_off.opens_at(most, 0, WINDOW, now);
            if opens_at > now {
                return Err(Failure::BudgetExhausted(opens_at - now));
            }
            self.begin(id, Payment::CutOff, now);
            return Ok(());
        }
        let can_ask = gate.contact.clock(now).is_some();
        match gate.of_mut(category).lane(None).opens_at(now) {
            Some(opens_at) if opens_at <= now && can_ask => self.ask_for(id, category, now),
            opens_at => {
                let wait = opens_at.map_or(GRANT_TIME, |at| at.saturating_duration_since(now));
                return Err(Failure::BudgetExhausted(wait));
            }
        }
        Ok(())
    }

    /// Returns when a call is expected to begin that has `before` others of its caller before it.
    pub(in crate::users::limiter) fn expected_shared(
        &self,
        account: Account,
        category: QuotaCategory,
        place: Place,
        now: Instant,
    ) -> Instant {
        let (queue, caller) = (self.categories.get(category), account.caller());
        let Some(gate) = &self.shared else { return now };
        let of_category = gate.of(category);
        if account.priority == Priority::Background {
            return of_category.expected_at(None, now);
        }
        if gate.scope(now) != Scope::Shared {
            let before = queue.before_all(caller, place, now);
            let cut_off = of_category.cut_off.opens_at(queue.allowance.cut_off(now), before, WINDOW, now);
            let opened = gate.contact.opens_at(now).map(|at| at.max(queue.expected_at(caller, place, now)));
            return opened.map_or(cut_off, |opened| opened.min(cut_off));
        }
        let rate = queue.allowance.rate(Priority::Single, now);
        let lanes = queue.callers().filter(|(_, queue)| !queue.waiting.is_empty()).count();
        let rate = of_category.expected_rate(rate, lanes, now);
        let turn = queue.expected_at_rate(caller, place, rate, now);
        let first = of_category.expected_at(Some(caller), now);
        match queue.before(caller, place) {
            0 => first,
            _ => turn.max(first),
        }
    }

    /// Returns what is to be sent to the store, and takes it as sent.
    pub(super) fn take_outbox(&mut self) -> Outbox {
        self.shared.as_mut().map(|gate| mem::take(&mut gate.outbox)).unwrap_or_default()
    }

    /// Notes what a sync returned.
    pub(super) fn synced(&mut self, sent: Instant, result: Result<Synced, CallError>, now: Instant) {
        let Some(gate) = &mut self.shared else { return };
        let synced = match result {
            Ok(synced) => synced,
            Err(error) => return gate.contact.sync_failed(error, now),
        };
        gate.contact.synced(Reading { sent, received: now, server: synced.now }, &synced);
        for (category, of_store) in QuotaCategory::ALL.into_iter().zip(&synced.categories) {
            let allowance = &mut self.categories.get_mut(category).allowance;
            if let Some(quota) = of_store.quota {
                allowance.report_quota(quota);
            }
            if let Some(cut) = of_store.cut {
                allowance.aimd.adopt(cut, synced.now, now);
            }
        }
    }

    /// Notes what the store has answered to a request for a call, or that it has not.
    pub(super) fn answered(
        &mut self,
        ask: Ask,
        sent: Instant,
        result: Result<Taken, CallError>,
        now: Instant,
    ) {
        let Some(gate) = &mut self.shared else { return };
        gate.of_mut(ask.category).lane(ask.caller.map(|caller| caller.index)).answered();
        let fetch = self.fetches.get_mut(&ask.fetch).filter(|fetch| fetch.asked == Some(ask.number));
        let is_wanted = fetch.is_some_and(|fetch| {
            fetch.asked = None;
            matches!(fetch.call, CallState::Waiting(category, _) if category == ask.category)
                && ask.caller.is_none_or(|caller| caller.index == fetch.account.caller())
        });
        match result {
            Ok(taken) => {
                gate.contact.answered(Reading { sent, received: now, server: taken.now });
                self.taken(ask, sent, is_wanted, taken.outcome, now);
            }
            Err(error) => {
                gate.contact.failed(error);
                if error != CallError::Unavailable {
                    gate.outbox.ends.push(ask.clone().unused());
                }
                if is_wanted && ask.caller.is_none() {
                    self.refuse(ask.fetch, Failure::BudgetExhausted(GRANT_TIME));
                }
            }
        }
    }

    fn taken(&mut self, ask: Ask, sent: Instant, is_wanted: bool, outcome: TakeOutcome, now: Instant) {
        let own = self.categories.get(ask.category).count(now);
        let Some(gate) = &mut self.shared else { return };
        let caller = ask.caller.map(|caller| caller.index);
        match outcome {
            TakeOutcome::UnknownEpoch => gate.contact.lose_epoch(now),
            TakeOutcome::Warm => gate.contact.warm(now),
            TakeOutcome::OutOfTime => {}
            _ => gate.contact.opened(),
        }
        let of_category = gate.of_mut(ask.category);
        let wait = match outcome {
            TakeOutcome::Granted(crowd) => {
                of_category.count(crowd, own + 1, now);
                of_category.lane(caller).granted();
                return self.granted(ask, sent, is_wanted, now);
            }
            TakeOutcome::Full(wait, crowd) => {
                of_category.count(crowd, own, now);
                of_category.lane(caller).refused(now + wait);
                wait
            }
            TakeOutcome::UserFull(wait) => {
                self.users.entry(ask.user.clone()).or_default().close_until(now + wait);
                wait
            }
            TakeOutcome::CallerFull(wait) => {
                if let Some(caller) = caller {
                    self.callers.entry(caller).or_default().close_until(now + wait);
                }
                wait
            }
            TakeOutcome::UnknownEpoch | TakeOutcome::OutOfTime | TakeOutcome::Warm => {
                let retry = if outcome == TakeOutcome::Warm { WARM_RETRY } else { CLOCK_RETRY };
                of_category.lane(caller).refused(now + retry);
                // The cut-off allowance may let others begin.
                Duration::ZERO
            }
        };
        match caller {
            None if is_wanted => self.refuse(ask.fetch, Failure::BudgetExhausted(wait.max(GRANT_TIME))),
            None => {}
            Some(caller) => self.refuse_late(&ask, caller, outcome, now + wait, now),
        }
    }

    /// Begins the call that the store has granted, if it is still wanted and the grant is not late.
    fn granted(&mut self, ask: Ask, sent: Instant, is_wanted: bool, now: Instant) {
        let is_late = now.saturating_duration_since(sent) > GRANT_TIME;
        let is_allowed = self.categories.get(ask.category).wall_opens_at(now) <= now
            && self.allowed_at(ask.fetch, now) <= now;
        if is_wanted && is_allowed && !is_late {
            return self.begin(ask.fetch, Payment::Granted(ask.number), now);
        }
        if is_wanted && ask.caller.is_none() {
            self.refuse(ask.fetch, Failure::BudgetExhausted(GRANT_TIME));
        }
        if let Some(gate) = &mut self.shared {
            gate.outbox.ends.push(ask.unused());
        }
    }

    /// Refuses the calls of a caller that cannot begin in time before their deadlines.
    fn refuse_late(
        &mut self,
        ask: &Ask,
        caller: usize,
        outcome: TakeOutcome,
        opens_at: Instant,
        now: Instant,
    ) {
        let is_concerned = |id: FetchId, call: CallState| match outcome {
            TakeOutcome::Full(..) => true,
            TakeOutcome::CallerFull(_) => matches!(call, CallState::Waiting(_, CallKind::First)),
            TakeOutcome::UserFull(_) => id == ask.fetch,
            _ => false,
        };
        let queue = self.categories.get(ask.category);
        let is_throttled = queue.allowance.aimd.factor(now) < 1.0 && matches!(outcome, TakeOutcome::Full(..));
        let waiting = queue.waiting_of(caller).filter_map(|place| {
            let fetch = self.fetches.get(&place.fetch)?;
            let is_late = is_throttled || opens_at + LEAST_TIME > fetch.deadline;
            (is_late && is_concerned(place.fetch, fetch.call)).then_some(place.fetch)
        });
        #[expect(clippy::needless_collect, reason = "each refusal changes the queues")]
        for fetch in waiting.collect::<Vec<_>>() {
            self.refuse(
                fetch,
                match is_throttled {
                    // Not our own limit, and waiting rarely helps.
                    true => Failure::Throttled,
                    false => Failure::BudgetExhausted(opens_at - now),
                },
            );
        }
    }
}

/// Returns the limit of the caller's own that the call is charged to.
fn own_limit(account: Account, kind: CallKind) -> Option<OwnLimit> {
    let per_second = account.caller_limit.misses_per_second.filter(|_| kind != CallKind::Retry)?;
    Some(OwnLimit { per_second, delays: kind == CallKind::First })
}

const WARM_RETRY: Duration = Duration::from_millis(200);
// The store is synced with meanwhile.
const CLOCK_RETRY: Duration = Duration::from_millis(10);
