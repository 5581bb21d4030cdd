//! The calls of one caller at one replica that wait, as in `src/users/limiter/shared/lane.rs`.

use std::collections::VecDeque;

/// Times are in microseconds.
#[derive(Default)]
pub(super) struct Lane {
    /// The fetches that wait, and whether the store was asked for them.
    pub(super) waiting: VecDeque<(u64, bool)>,
    pub(super) asked: usize,
    pub(super) retry_at: u64,
    window: usize,
    /// What the store has said last: when, who waits, and how many calls count.
    pub(super) crowd: Option<(u64, u64, u64)>,
    /// The time for which a wake-up is planned.
    pub(super) wakes_at: u64,
}

impl Lane {
    pub(super) fn new() -> Self {
        Self { window: MOST_ASKED, ..Self::default() }
    }

    pub(super) fn may_ask(&self, now: u64) -> bool {
        self.asked < self.window.max(1) && self.retry_at <= now
    }

    /// Returns the first fetch that the store was not asked for yet, and marks it.
    pub(super) fn next(&mut self) -> Option<u64> {
        let (fetch, is_asked) = self.waiting.iter_mut().find(|(_, is_asked)| !is_asked)?;
        *is_asked = true;
        self.asked += 1;
        Some(*fetch)
    }

    pub(super) fn granted(&mut self, fetch: u64) {
        (self.retry_at, self.window) = (0, (self.window + 1).min(MOST_ASKED));
        self.waiting.retain(|(other, _)| *other != fetch);
    }

    pub(super) fn refused(&mut self, fetch: u64, retry_at: u64) {
        (self.retry_at, self.window) = (retry_at, 0);
        let waiting = self.waiting.iter_mut().find(|(other, _)| *other == fetch);
        waiting.into_iter().for_each(|(_, is_asked)| *is_asked = false);
    }

    /// Returns when another call may be expected to begin, of `rate` calls a second.
    pub(super) fn expected_at(&self, rate: u64, now: u64) -> u64 {
        let known = self.crowd.filter(|(at, ..)| now - at < SECOND);
        let part = known.map_or(rate, |(_, waiting, count)| {
            (rate / waiting.max(1)).max(rate.saturating_sub(count)).clamp(1, rate)
        });
        let turn = now + self.waiting.len() as u64 * SECOND / part;
        if self.waiting.is_empty() { self.retry_at.max(now) } else { turn.max(self.retry_at) }
    }
}

const MOST_ASKED: usize = 4;
const SECOND: u64 = 1_000_000;
