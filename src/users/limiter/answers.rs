//! What the store's answers change; pure.

use tokio::time::{Duration, Instant};

use super::{
    CallKind,
    category::QuotaCategory,
    queue::FetchId,
    shared::{Ask, Payment, Reading},
    state::{CallState, LEAST_TIME, LimiterState},
};
use crate::{
    shared_cache::{
        CallError,
        rate_limit::{GRANT_TIME, Synced, TakeOutcome, Taken},
    },
    users::Failure,
};

impl LimiterState {
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
        let Some(gate) = &mut self.shared else { return };
        match outcome {
            TakeOutcome::UnknownEpoch => gate.contact.lose_epoch(now),
            TakeOutcome::Warm => gate.contact.warm(now),
            TakeOutcome::OutOfTime => {}
            _ => gate.contact.opened(),
        }
        let Some(wait) = self.wait_after(&ask, outcome, now) else {
            return self.granted(ask, sent, is_wanted, now);
        };
        match ask.caller {
            None if is_wanted => self.refuse(ask.fetch, Failure::BudgetExhausted(wait.max(GRANT_TIME))),
            None => {}
            Some(caller) => self.refuse_late(&ask, caller.index, outcome, now + wait, now),
        }
    }

    /// Notes when such a call may be asked for again. Returns how long this one waits at least; none if
    /// it was granted.
    fn wait_after(&mut self, ask: &Ask, outcome: TakeOutcome, now: Instant) -> Option<Duration> {
        let own = self.categories.get(ask.category).count(now);
        let of_category = self.shared.as_mut()?.of_mut(ask.category);
        let caller = ask.caller.map(|caller| caller.index);
        match outcome {
            TakeOutcome::Granted(crowd) => {
                of_category.count(crowd, own + 1, now);
                of_category.lane(caller).granted();
                None
            }
            TakeOutcome::Full(wait, crowd) => {
                of_category.count(crowd, own, now);
                of_category.lane(caller).refused(now + wait);
                Some(wait)
            }
            TakeOutcome::UserFull(wait) => {
                self.users.entry(ask.user.clone()).or_default().close_until(now + wait);
                Some(wait)
            }
            TakeOutcome::CallerFull(wait) => {
                if let Some(caller) = caller {
                    self.callers.entry(caller).or_default().close_until(now + wait);
                }
                Some(wait)
            }
            TakeOutcome::UnknownEpoch | TakeOutcome::OutOfTime | TakeOutcome::Warm => {
                let retry = if outcome == TakeOutcome::Warm { WARM_RETRY } else { CLOCK_RETRY };
                of_category.lane(caller).refused(now + retry);
                // The cut-off allowance may let others begin.
                Some(Duration::ZERO)
            }
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

const WARM_RETRY: Duration = Duration::from_millis(200);
// The store is synced with meanwhile.
const CLOCK_RETRY: Duration = Duration::from_millis(10);
