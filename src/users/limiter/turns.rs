//! Which calls begin where replicas share the rate limit; pure.

use tokio::time::Instant;

use super::{
    Account, Priority,
    category::QuotaCategory,
    queue::{FetchId, Place},
    shared::{Payment, Scope},
    sliding_log::WINDOW,
    state::LimiterState,
};
use crate::{shared_cache::rate_limit::GRANT_TIME, users::Failure};

impl LimiterState {
    /// Begins the calls that the cut-off allowance lets begin, and asks the store for others. Returns
    /// when there may be more to do; none if only the store's answers matter.
    pub(super) fn dispatch_shared(&mut self, category: QuotaCategory, now: Instant) -> Option<Instant> {
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

    /// Begins a background call of the cut-off allowance, or asks the store for one. Fails if neither
    /// may be.
    pub(super) fn begin_in_background(
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
    pub(super) fn expected_shared(
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
}
