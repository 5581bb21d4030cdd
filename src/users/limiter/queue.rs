//! The calls of one quota category that count, and those that wait, by caller; pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    Account, CallKind, Priority,
    allowance::Allowance,
    pace::Pace,
    sliding_log::{SlidingLog, WINDOW},
};

/// One quota category: its rate, the calls that count towards it, and the queue of each caller.
#[derive(Debug)]
pub(super) struct CategoryQueue {
    pub(super) allowance: Allowance,
    log: SlidingLog,
    pace: Pace,
    /// How long a call takes, as a moving average.
    latency: Duration,
    /// By the number of the caller.
    callers: BTreeMap<usize, CallerQueue>,
}

/// The calls of one caller.
#[derive(Debug, Default)]
pub(super) struct CallerQueue {
    log: SlidingLog,
    pub(super) waiting: BTreeSet<Place>,
    /// The limit of its own, in calls a second.
    limit: Option<usize>,
}

/// The place of a call in its caller's queue: by rank, and then by age.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Place {
    rank: Rank,
    pub(super) fetch: FetchId,
}

/// What a caller's calls are ordered by, the first first.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Rank {
    /// Ends a fetch that has begun.
    FollowUp,
    /// For a request about one user.
    Single,
    /// For one user of a batch.
    Batch,
}

/// Identifies a fetch. A later one has a larger number.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(in crate::users) struct FetchId(pub(in crate::users) u64);

impl CategoryQueue {
    pub(super) fn new(allowance: Allowance) -> Self {
        Self {
            allowance,
            log: SlidingLog::default(),
            pace: Pace::default(),
            latency: TYPICAL_LATENCY,
            callers: BTreeMap::new(),
        }
    }

    /// Returns the queue of every caller that has called.
    pub(super) fn callers(&self) -> impl Iterator<Item = (usize, &CallerQueue)> {
        self.callers.iter().map(|(caller, queue)| (*caller, queue))
    }

    /// Returns the calls of a caller that wait, the first first.
    pub(super) fn waiting_of(&self, caller: usize) -> impl Iterator<Item = &Place> {
        self.callers.get(&caller).into_iter().flat_map(|queue| &queue.waiting)
    }

    pub(super) fn has_waiting(&self) -> bool {
        self.callers.values().any(|queue| !queue.waiting.is_empty())
    }

    pub(super) fn enqueue(&mut self, account: Account, place: Place) {
        let queue = self.callers.entry(account.caller()).or_default();
        queue.limit = account.caller_limit.misses_per_second;
        queue.waiting.insert(place);
    }

    pub(super) fn dequeue(&mut self, caller: usize, place: Place) {
        if let Some(queue) = self.callers.get_mut(&caller) {
            queue.waiting.remove(&place);
        }
    }

    /// Returns when the next call of this priority may begin.
    pub(super) fn opens_at(&self, priority: Priority, now: Instant) -> Instant {
        let opens_at = self.opens_after(self.allowance.rate(priority, now), 0, now);
        match priority {
            Priority::Background => opens_at.max(self.pace.opens_for_background_at(now)),
            Priority::Batch | Priority::Single => opens_at,
        }
    }

    /// Returns when the log has room for another foreground call, whatever the pace.
    pub(super) fn wall_opens_at(&self, now: Instant) -> Instant {
        self.log.opens_at(self.allowance.rate(Priority::Single, now), 0, WINDOW, now)
    }

    /// Returns when a call with this place in the caller's queue is expected to begin.
    pub(super) fn expected_at(&self, caller: usize, place: Place, now: Instant) -> Instant {
        self.expected_at_rate(caller, place, self.allowance.rate(Priority::Single, now), now)
    }

    /// As [`expected_at`](Self::expected_at), at this many calls a second.
    pub(super) fn expected_at_rate(&self, caller: usize, place: Place, rate: usize, now: Instant) -> Instant {
        self.opens_after(rate, self.before_all(caller, place, now), now)
    }

    /// Returns how many calls begin before the one with this place in the caller's queue: those before
    /// it, and those of the other callers that have fewer calls until then.
    pub(super) fn before_all(&self, caller: usize, place: Place, now: Instant) -> usize {
        let before = self.before(caller, place);
        let turn = self.callers.get(&caller).map_or(0, |own| own.log.count(now)) + before + 1;
        let of_others = self.callers.iter().filter(|(other, _)| **other != caller).map(|(_, other)| {
            let waiting = other.waiting.len().min(other.limit.unwrap_or(usize::MAX));
            waiting.min(turn.saturating_sub(other.log.count(now)))
        });
        before + of_others.sum::<usize>()
    }

    /// Logs the start of a call, on the account of `caller`; none for a background call.
    pub(super) fn begin(&mut self, caller: Option<usize>, now: Instant) {
        self.log.begin(now);
        if let Some(caller) = caller {
            self.callers.entry(caller).or_default().log.begin(now);
        }
        self.pace.begin(self.allowance.rate(Priority::Single, now), self.has_waiting(), now);
    }

    /// Logs the end of a call, which leaves the window at `leaves_at`.
    pub(super) fn end(&mut self, caller: Option<usize>, leaves_at: Instant) {
        self.log.end(leaves_at);
        if let Some(queue) = caller.and_then(|caller| self.callers.get_mut(&caller)) {
            queue.log.end(leaves_at);
        }
    }

    /// Follows the time that a call took.
    pub(super) fn observe(&mut self, latency: Duration) {
        self.latency = (self.latency * 7 + latency) / 8;
    }

    /// Returns how many calls count.
    pub(super) fn count(&self, now: Instant) -> usize {
        self.log.count(now)
    }

    /// Returns how many calls have a place in the caller's queue before this one.
    pub(super) fn before(&self, caller: usize, place: Place) -> usize {
        self.callers.get(&caller).map_or(0, |queue| queue.before(place))
    }

    /// Returns whether no call may begin, and Cognito's throttling may be the reason.
    pub(super) fn is_throttled(&self, priority: Priority, now: Instant) -> bool {
        self.allowance.aimd.factor(now) < 1.0 && self.opens_at(priority, now) > now
    }

    fn opens_after(&self, rate: usize, others: usize, now: Instant) -> Instant {
        let (turnover, count) = (WINDOW + self.latency + UNEVENNESS, self.log.count(now));
        let opens_at = self.log.opens_at(rate, others, turnover, now);
        let opens_at = opens_at.max(self.pace.opens_at(rate, others, now));
        match (count + others).checked_sub(rate) {
            // The pace fills the places one by one, even if several are free at once.
            Some(beyond) if others > 0 => {
                let first = self.log.opens_at(rate, rate.saturating_sub(count), turnover, now);
                opens_at.max(first + turnover.mul_f64(beyond as f64 / rate as f64))
            }
            _ => opens_at,
        }
    }
}

impl CallerQueue {
    /// Returns how many calls of the caller count.
    pub(super) fn count(&self, now: Instant) -> usize {
        self.log.count(now)
    }

    fn before(&self, place: Place) -> usize {
        match self.waiting.last() {
            Some(last) if *last < place => self.waiting.len(),
            _ => self.waiting.range(..place).count(),
        }
    }
}

impl Place {
    /// Returns the place of a call of this kind and priority.
    pub(super) fn of(fetch: FetchId, kind: CallKind, priority: Priority) -> Self {
        let rank = match (kind, priority) {
            (CallKind::FollowUp | CallKind::Retry, _) => Rank::FollowUp,
            (CallKind::First, Priority::Single) => Rank::Single,
            (CallKind::First, Priority::Batch | Priority::Background) => Rank::Batch,
        };
        Self { rank, fetch }
    }
}

// The pace takes some places a little after they are free.
const UNEVENNESS: Duration = Duration::from_millis(30);
// AdminGetUser takes some tens of milliseconds.
const TYPICAL_LATENCY: Duration = Duration::from_millis(50);
