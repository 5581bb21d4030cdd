//! What a replica knows of the store: its epoch and clock, and whether it answers; pure.

use std::time::Duration;

use tokio::time::Instant;

use super::store_clock::{Reading, Step, StoreClock};
use crate::shared_cache::{
    CallError, ServerTime,
    rate_limit::{ClockBounds, GRANT_TIME, Synced},
};

/// The state of a replica's contact with the store.
#[derive(Debug)]
pub(in crate::users::limiter) struct Contact {
    clock: StoreClock,
    epoch: String,
    was_set_back: bool,
    /// Whether the epoch is the present one, as far as this replica knows.
    is_synced: bool,
    is_syncing: bool,
    sync_at: Instant,
    /// The calls in a row without an answer.
    failures: u32,
    /// Since when every answer has been too late for a grant.
    late_since: Option<Instant>,
    /// Whether that is so long that no grant is waited for.
    is_too_late: bool,
    is_available: bool,
    /// Until when the first answer is waited for; none once it came.
    first_answer_by: Option<Instant>,
    /// Until when the epoch counts as not open.
    warm_until: Option<Instant>,
}

/// Where calls are allowed at present.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::users::limiter) enum Scope {
    /// By the log in the store.
    Shared,
    /// By the cut-off allowance: the store does not answer, or only too late.
    CutOff,
    /// By the cut-off allowance: the epoch in the store is not open yet.
    Warm,
}

impl Contact {
    pub(in crate::users::limiter) fn new(now: Instant) -> Self {
        Self {
            clock: StoreClock::default(),
            epoch: String::new(),
            was_set_back: false,
            is_synced: false,
            is_syncing: false,
            sync_at: now,
            failures: 0,
            late_since: None,
            is_too_late: false,
            is_available: true,
            first_answer_by: Some(now + FIRST_ANSWER_TIME),
            warm_until: None,
        }
    }

    pub(in crate::users::limiter) fn scope(&self, now: Instant) -> Scope {
        if self.is_cut_off(now) {
            Scope::CutOff
        } else if self.warm_until.is_some_and(|until| until > now) {
            Scope::Warm
        } else {
            Scope::Shared
        }
    }

    /// Returns when a replica that has had no answer yet gives up; none otherwise.
    pub(in crate::users::limiter) fn gives_up_at(&self, now: Instant) -> Option<Instant> {
        self.first_answer_by.filter(|by| *by > now)
    }

    fn is_cut_off(&self, now: Instant) -> bool {
        match self.first_answer_by {
            // Others may use all of the limit, so a replica that starts does not add to it.
            Some(by) => now >= by,
            None => !self.is_available || self.failures >= FAILURES || self.is_too_late,
        }
    }

    /// Returns when the epoch opens, unless another replica opens it earlier; none if it is open, or
    /// not known.
    pub(in crate::users::limiter) fn opens_at(&self, now: Instant) -> Option<Instant> {
        let is_warm = self.scope(now) == Scope::Warm;
        self.clock.watched_at().filter(|_| is_warm)
    }

    /// Notes whether scripts can be called at all.
    pub(in crate::users::limiter) fn set_available(&mut self, is_available: bool) {
        self.is_available = is_available;
    }

    /// Returns what a script must know of the clock; none if the store must be synced with first.
    pub(in crate::users::limiter) fn clock(&self, now: Instant) -> Option<ClockBounds<'_>> {
        let bounds = self.clock.bounds(now).filter(|_| self.is_synced && self.is_available)?;
        let (earliest, latest) = (bounds.earliest, bounds.latest);
        Some(ClockBounds { epoch: &self.epoch, earliest, latest, is_watched: bounds.is_watched })
    }

    /// Returns when a script that is sent now should be answered.
    pub(in crate::users::limiter) fn answered_at(&self, now: Instant) -> Instant {
        now + self.clock.travel()
    }

    /// Returns when to sync next; none while it is under way.
    pub(in crate::users::limiter) fn syncs_at(&self) -> Option<Instant> {
        (!self.is_syncing).then_some(self.sync_at)
    }

    /// Begins to sync. Returns what is known of the clock, and whether it was set back.
    pub(in crate::users::limiter) fn begin_sync(&mut self, now: Instant) -> (ClockBounds<'_>, bool) {
        self.is_syncing = true;
        let bounds = self.clock.bounds(now);
        let clock = ClockBounds {
            epoch: &self.epoch,
            earliest: bounds.map_or(ServerTime::ZERO, |bounds| bounds.earliest),
            latest: bounds.map_or(ServerTime::ZERO, |bounds| bounds.latest),
            is_watched: bounds.is_some_and(|bounds| bounds.is_watched),
        };
        (clock, self.was_set_back)
    }

    /// Postpones a sync that cannot be sent.
    pub(in crate::users::limiter) fn postpone_sync(&mut self, now: Instant) {
        self.sync_at = now + RETRY_INTERVAL;
    }

    /// Notes the answer to a sync.
    pub(in crate::users::limiter) fn synced(&mut self, reading: Reading, synced: &Synced) {
        (self.is_syncing, self.sync_at) = (false, reading.received + SYNC_INTERVAL);
        if synced.epoch != self.epoch {
            self.clock = StoreClock::default();
            (self.epoch, self.was_set_back) = (synced.epoch.clone(), false);
        }
        self.is_synced = true;
        self.answered(reading);
        match synced.is_open {
            true => self.opened(),
            false => self.warm(reading.received),
        }
    }

    /// Notes that a sync had no answer.
    pub(in crate::users::limiter) fn sync_failed(&mut self, error: CallError, now: Instant) {
        (self.is_syncing, self.sync_at) = (false, now + RETRY_INTERVAL);
        self.failed(error);
    }

    /// Notes an answer of the store.
    pub(in crate::users::limiter) fn answered(&mut self, reading: Reading) {
        (self.failures, self.is_available, self.first_answer_by) = (0, true, None);
        let is_late = reading.received.saturating_duration_since(reading.sent) > GRANT_TIME;
        self.late_since = is_late.then(|| self.late_since.unwrap_or(reading.sent));
        let late_for = self.late_since.map(|since| reading.received.saturating_duration_since(since));
        self.is_too_late = late_for.is_some_and(|time| time >= LATE_TIME);
        if self.clock.note(reading) == Step::Back {
            self.was_set_back = true;
            self.lose_epoch(reading.received);
        }
    }

    /// Notes that a script had no answer. One may be late because this process is; the second in a
    /// row is the store's.
    pub(in crate::users::limiter) fn failed(&mut self, error: CallError) {
        match error {
            CallError::Unavailable => self.is_available = false,
            CallError::Timeout | CallError::Failed | CallError::Clock | CallError::Script => {
                self.failures += 1
            }
        }
    }

    /// Notes that the epoch is another one, so that the store must be synced with.
    pub(in crate::users::limiter) fn lose_epoch(&mut self, now: Instant) {
        (self.is_synced, self.sync_at) = (false, now);
    }

    /// Notes that the epoch is not open.
    pub(in crate::users::limiter) fn warm(&mut self, now: Instant) {
        self.warm_until = Some(now + WARM_TIME);
    }

    /// Notes that the epoch is open.
    pub(in crate::users::limiter) fn opened(&mut self) {
        self.warm_until = None;
    }
}

const SYNC_INTERVAL: Duration = Duration::from_secs(1);
const RETRY_INTERVAL: Duration = Duration::from_millis(100);
const FAILURES: u32 = 2;
// No call begins meanwhile, and callers wait for some seconds. A busy process is late for less.
const LATE_TIME: Duration = Duration::from_millis(500);
// Longer than `shared_cache.connect_timeout` by default.
const FIRST_ANSWER_TIME: Duration = Duration::from_millis(600);
// The epoch may open meanwhile, and others then use all of the limit.
const WARM_TIME: Duration = Duration::from_millis(250);
