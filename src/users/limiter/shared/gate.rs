//! What lets a call begin where replicas share the rate limit: a grant of the store, or the cut-off
//! allowance; pure.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use super::{
    super::{
        Priority,
        allowance::Allowance,
        category::QuotaCategory,
        queue::FetchId,
        sliding_log::{SlidingLog, WINDOW},
    },
    contact::{Contact, Scope},
    lane::Lane,
};
use crate::{
    shared_cache::rate_limit::{Crowd, OwnLimit},
    users::cache::Key,
};

/// What lets the calls of all categories begin, and what the store is to be told.
#[derive(Debug)]
pub(in crate::users::limiter) struct Gate {
    pub(in crate::users::limiter) contact: Contact,
    pub(super) user_reads: CategoryGate,
    pub(in crate::users::limiter) lists: CategoryGate,
    pub(in crate::users::limiter) group_reads: CategoryGate,
    /// What was not sent yet.
    pub(in crate::users::limiter) outbox: Outbox,
    last_number: u64,
}

/// What lets the calls of one category begin.
#[derive(Debug, Default)]
pub(in crate::users::limiter) struct CategoryGate {
    /// The calls of the cut-off allowance.
    pub(in crate::users::limiter) cut_off: SlidingLog,
    /// By the number of the caller; none for background calls.
    lanes: BTreeMap<Option<usize>, Lane>,
    crowd: Option<Counted>,
}

/// The calls of all replicas at some time, and those of this one among them.
#[derive(Clone, Copy, Debug)]
struct Counted {
    at: Instant,
    crowd: Crowd,
    own: usize,
}

/// What is to be sent to the store.
#[derive(Debug, Default)]
pub(in crate::users::limiter) struct Outbox {
    pub(in crate::users::limiter) asks: Vec<Ask>,
    pub(in crate::users::limiter) ends: Vec<EndedCall>,
    pub(in crate::users::limiter) news: Vec<News>,
}

/// A request for one call.
#[derive(Clone, Debug)]
pub(in crate::users::limiter) struct Ask {
    pub(in crate::users::limiter) number: u64,
    pub(in crate::users::limiter) fetch: FetchId,
    pub(in crate::users::limiter) category: QuotaCategory,
    /// The most calls a second.
    pub(in crate::users::limiter) limit: usize,
    pub(in crate::users::limiter) user: Key,
    /// None for a background call.
    pub(in crate::users::limiter) caller: Option<AskingCaller>,
}

/// The caller that a call is asked for.
#[derive(Clone, Copy, Debug)]
pub(in crate::users::limiter) struct AskingCaller {
    pub(in crate::users::limiter) index: usize,
    pub(in crate::users::limiter) own_limit: Option<OwnLimit>,
    pub(in crate::users::limiter) others_wait: bool,
}

/// A granted call that has ended, or was not made.
#[derive(Clone, Debug)]
pub(in crate::users::limiter) struct EndedCall {
    pub(in crate::users::limiter) number: u64,
    pub(in crate::users::limiter) category: QuotaCategory,
    pub(in crate::users::limiter) user: Key,
    /// The caller and its own limit, if the call is charged to it.
    pub(in crate::users::limiter) charged: Option<(usize, usize)>,
    /// How long it counts from now on; zero if it was not made.
    pub(in crate::users::limiter) counts_for: Duration,
}

/// What this replica has learned from Cognito.
#[derive(Clone, Copy, Debug)]
pub(in crate::users::limiter) struct News {
    pub(in crate::users::limiter) category: QuotaCategory,
    pub(in crate::users::limiter) quota: Option<usize>,
    pub(in crate::users::limiter) is_throttled: bool,
}

/// What a call is counted by, beside the log of this process.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::users::limiter) enum Payment {
    /// Nothing else.
    Own,
    /// The cut-off allowance.
    CutOff,
    /// The log in the store, which has it under this number.
    Granted(u64),
}

impl Gate {
    pub(in crate::users::limiter) fn new(now: Instant) -> Self {
        Self {
            contact: Contact::new(now),
            user_reads: CategoryGate::default(),
            lists: CategoryGate::default(),
            group_reads: CategoryGate::default(),
            outbox: Outbox::default(),
            last_number: 0,
        }
    }

    /// Returns where calls are allowed at present.
    pub(in crate::users::limiter) fn scope(&self, now: Instant) -> Scope {
        self.contact.scope(now)
    }

    /// Notes whether scripts can be called at all.
    pub(in crate::users::limiter) fn set_available(&mut self, is_available: bool) {
        self.contact.set_available(is_available);
    }

    /// Tells the other replicas that Cognito throttled a call.
    pub(in crate::users::limiter) fn tell_throttled(&mut self, category: QuotaCategory) {
        self.outbox.news.push(News { category, quota: None, is_throttled: true });
    }

    /// Tells the other replicas the quota that Cognito reports, in calls a second.
    pub(in crate::users::limiter) fn tell_quota(&mut self, category: QuotaCategory, quota: usize) {
        self.outbox.news.push(News { category, quota: Some(quota), is_throttled: false });
    }

    /// Returns how many calls a second this replica may make at most.
    pub(in crate::users::limiter) fn rate(
        &self,
        category: QuotaCategory,
        allowance: &Allowance,
        now: Instant,
    ) -> usize {
        match self.scope(now) {
            Scope::Shared => self.of(category).expected_rate(allowance.rate(Priority::Single, now), 1, now),
            Scope::CutOff | Scope::Warm => allowance.cut_off(now),
        }
    }

    pub(in crate::users::limiter) fn of(&self, category: QuotaCategory) -> &CategoryGate {
        match category {
            QuotaCategory::GroupReads => &self.group_reads,
            QuotaCategory::Lists => &self.lists,
            QuotaCategory::UserReads => &self.user_reads,
        }
    }

    pub(in crate::users::limiter) fn of_mut(&mut self, category: QuotaCategory) -> &mut CategoryGate {
        match category {
            QuotaCategory::GroupReads => &mut self.group_reads,
            QuotaCategory::Lists => &mut self.lists,
            QuotaCategory::UserReads => &mut self.user_reads,
        }
    }

    pub(in crate::users::limiter) fn new_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    /// Logs the start of a call of the cut-off allowance.
    pub(in crate::users::limiter) fn begin_cut_off(&mut self, category: QuotaCategory, now: Instant) {
        self.of_mut(category).cut_off.begin(now);
    }

    /// Logs the end of a call that counts for so long from now on.
    pub(in crate::users::limiter) fn end(
        &mut self,
        payment: Payment,
        category: QuotaCategory,
        (user, charged): (&Key, Option<(usize, usize)>),
        (counts_for, now): (Duration, Instant),
    ) {
        match payment {
            Payment::Own => {}
            Payment::CutOff => self.of_mut(category).cut_off.end(now + counts_for),
            Payment::Granted(number) => {
                self.outbox.ends.push(EndedCall {
                    number,
                    category,
                    user: user.clone(),
                    charged,
                    counts_for,
                });
            }
        }
    }
}

impl CategoryGate {
    pub(in crate::users::limiter) fn lane(&mut self, caller: Option<usize>) -> &mut Lane {
        self.lanes.entry(caller).or_default()
    }

    /// Returns when the store allows the next call of this lane, as far as it has said.
    pub(in crate::users::limiter) fn expected_at(&self, caller: Option<usize>, now: Instant) -> Instant {
        self.lanes.get(&caller).map_or(now, |lane| lane.expected_at(now))
    }

    /// Notes how many calls all replicas have made, and how many of them this one.
    pub(in crate::users::limiter) fn count(&mut self, crowd: Crowd, own: usize, now: Instant) {
        self.crowd = Some(Counted { at: now, crowd, own });
    }

    /// Returns how many calls a second this replica may expect of all `rate`, if `lanes` of its callers
    /// wait.
    pub(in crate::users::limiter) fn expected_rate(&self, rate: usize, lanes: usize, now: Instant) -> usize {
        let Some(Counted { at, crowd, own }) = self.crowd else { return rate };
        if now.saturating_duration_since(at) > WINDOW {
            return rate;
        }
        let left = rate.saturating_sub(crowd.count.saturating_sub(own));
        let part = rate * lanes.max(1) / crowd.waiting.max(lanes).max(1);
        left.max(part).clamp(1, rate.max(1))
    }
}

impl Ask {
    /// Returns the call as one that was not made.
    pub(in crate::users::limiter) fn unused(self) -> EndedCall {
        let charged = self.caller.and_then(|caller| Some((caller.index, caller.own_limit?.per_second)));
        let (number, category, user) = (self.number, self.category, self.user);
        EndedCall { number, category, user, charged, counts_for: Duration::ZERO }
    }
}
