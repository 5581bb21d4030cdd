//! The log: the last changes, in the order in which this service heard of them. Pure.

use std::{collections::VecDeque, time::Duration};

use super::{
    Change, Changed, KEPT_FOR,
    place::{EventId, Place, Run},
    rules::{Rule, holds},
};
use crate::{cache::shared_allocation, clock::BootTime, config::CHANGE_LOG_BYTES};

/// The events of the last 20 min without a gap, bounded in number and bytes. Those that report no
/// change have a place too.
#[derive(Debug)]
pub(super) struct Log {
    /// None until the log of replicas begins.
    run: Option<Run>,
    /// The place before the first event that is kept: a stream can continue from there.
    base: Place,
    /// A time up to which there is no later event.
    confirmed: EventId,
    events: VecDeque<Event>,
    bytes: usize,
    limits: LogLimits,
}

/// The bounds of a log.
#[derive(Clone, Copy, Debug)]
pub(super) struct LogLimits {
    pub(super) events: usize,
    pub(super) bytes: usize,
}

#[derive(Debug)]
struct Event {
    place: Place,
    at: BootTime,
    change: Option<(Changed, Change)>,
}

/// Why a stream cannot continue from a place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum OutOfRange {
    /// The log does not reach back to it, or never had it.
    Expired,
    /// The log has not reached it yet.
    Ahead,
}

impl Log {
    pub(super) fn new(run: Option<Run>, limits: LogLimits) -> Self {
        Self {
            run,
            base: Place::default(),
            confirmed: EventId::default(),
            events: VecDeque::new(),
            bytes: 0,
            limits,
        }
    }

    /// Forgets everything, and begins after `base`.
    pub(super) fn begin(&mut self, run: Run, base: Place) {
        *self = Self { base, ..Self::new(Some(run), self.limits) };
    }

    /// Notes that no event followed the last one up to `until`.
    pub(super) fn confirm(&mut self, until: EventId) {
        self.confirmed = self.confirmed.max(until);
    }

    pub(super) fn has_begun(&self) -> bool {
        self.run.is_some()
    }

    pub(super) fn run(&self) -> Option<Run> {
        self.run
    }

    /// Returns the place of the last event.
    pub(super) fn end(&self) -> Place {
        self.events.back().map_or(self.base, |event| event.place)
    }

    /// Returns the place of the last event, at the latest time at which it was the last.
    pub(super) fn now(&self) -> Place {
        let Place { number, id } = self.end();
        Place { number, id: id.max(self.confirmed) }
    }

    /// Appends the next event, and drops the oldest ones that exceed the bounds.
    pub(super) fn push(&mut self, place: Place, at: BootTime, change: Option<(Changed, Change)>) {
        let event = Event { place, at, change };
        self.bytes += event.bytes();
        self.events.push_back(event);
        while self.events.front().is_some_and(|oldest| self.is_over(oldest, at)) {
            let Some(oldest) = self.events.pop_front() else { break };
            self.bytes = self.bytes.saturating_sub(oldest.bytes());
            self.base = oldest.place;
        }
    }

    /// Returns the place of the event with this number, without its id if it is not kept.
    pub(super) fn place(&self, number: u64) -> Place {
        let index = number.checked_sub(self.base.number).and_then(|index| usize::try_from(index).ok());
        let kept = index.and_then(|index| match index.checked_sub(1) {
            None => Some(self.base),
            Some(n) => self.events.get(n).map(|event| event.place),
        });
        kept.unwrap_or_else(|| Place { number, id: EventId::default() })
    }

    /// Returns whether a stream can continue after a place: how many events are kept up to it.
    pub(super) fn check(&self, run: Run, after: Place) -> Result<usize, OutOfRange> {
        let is_of_other_run = self.run != Some(run) && holds(Rule::RunIsCompared);
        let is_before = after.number < self.base.number && holds(Rule::BaseIsCompared);
        if is_of_other_run || is_before {
            return Err(OutOfRange::Expired);
        }
        if after.number > self.end().number {
            return Err(OutOfRange::Ahead);
        }
        if holds(Rule::IdIsCompared) && !self.is_between(after) {
            return Err(OutOfRange::Expired);
        }
        Ok(usize::try_from(after.number.saturating_sub(self.base.number)).unwrap_or(usize::MAX))
    }

    /// Returns whether a place is that of the event with its number, and not of an earlier one in a store
    /// that was emptied since: its id is not before that event, and before the next one.
    fn is_between(&self, Place { number, id }: Place) -> bool {
        let own = self.place(number).id;
        // A store without events was silent for as long as they are kept, unless it was emptied: then
        // its numbers begin again.
        let was_silent =
            own.is_time() && number > 0 && Duration::from_millis(own.0.saturating_sub(id.0)) <= KEPT_FOR;
        let is_last = number == self.end().number;
        (own <= id || was_silent) && (is_last || id < self.place(number + 1).id)
    }

    /// Calls `each` with the changes of the next `most` events after a place, until it returns false.
    /// Returns the place of the last event that was read.
    pub(super) fn visit(
        &self,
        run: Run,
        after: Place,
        most: usize,
        mut each: impl FnMut(Place, &Changed, Change) -> bool,
    ) -> Result<Place, OutOfRange> {
        let (skipped, mut last) = (self.check(run, after)?, after);
        for event in self.events.iter().skip(skipped).take(most) {
            let is_read =
                event.change.as_ref().is_none_or(|(changed, change)| each(event.place, changed, *change));
            if !is_read {
                break;
            }
            last = event.place;
        }
        Ok(last)
    }

    /// Returns the last change of which Cognito said the time.
    pub(super) fn last_dated(&self) -> Option<Change> {
        let changes = self.events.iter().rev().take(LOOKED_AT).filter_map(|event| event.change.as_ref());
        changes.map(|(_, change)| *change).find(|change| change.changed_at.is_some())
    }

    #[cfg(test)]
    pub(super) fn size(&self) -> (usize, usize) {
        (self.events.len(), self.bytes)
    }

    fn is_over(&self, oldest: &Event, now: BootTime) -> bool {
        self.events.len() > self.limits.events || self.bytes > self.limits.bytes || now - oldest.at > KEPT_FOR
    }
}

impl Event {
    fn bytes(&self) -> usize {
        let sub = match &self.change {
            Some((Changed::User((_, sub)), _)) => shared_allocation(sub.as_str().len()),
            Some((Changed::SomeOf(_), _)) | None => 0,
        };
        size_of::<Self>() + sub
    }
}

impl Default for LogLimits {
    // As many as the stream of the replicas keeps.
    fn default() -> Self {
        let bytes = usize::try_from(CHANGE_LOG_BYTES).unwrap_or(usize::MAX);
        Self { events: 100_000, bytes }
    }
}

const LOOKED_AT: usize = 1_000;

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::{super::ChangeKind, *};

    const RUN: Run = Run(7);

    fn user(name: &str) -> Changed {
        Changed::User(("eu-west-1_A".parse().unwrap(), name.parse().unwrap()))
    }

    fn change() -> Change {
        Change::seen(ChangeKind::Attributes, SystemTime::UNIX_EPOCH)
    }

    fn place(number: u64) -> Place {
        Place { number, id: EventId(1_000 + number, 0) }
    }

    /// A log that begins after event 10 and has the events 11 to `last`; every third reports no change.
    fn log(last: u64, limits: LogLimits) -> Log {
        let mut log = Log::new(None, limits);
        log.begin(RUN, place(10));
        for number in 11..=last {
            let change = (!number.is_multiple_of(3)).then(|| (user(&format!("u{number}")), change()));
            log.push(place(number), BootTime::now(), change);
        }
        log
    }

    /// The numbers of the changes after a place.
    fn since(log: &Log, run: Run, after: Place) -> Result<Vec<u64>, OutOfRange> {
        let mut numbers = Vec::new();
        log.visit(run, after, usize::MAX, |place, _, _| {
            numbers.push(place.number);
            true
        })?;
        Ok(numbers)
    }

    #[tokio::test(start_paused = true)]
    async fn a_log_is_read_in_parts() {
        let log = log(16, LogLimits::default());
        let mut seen = Vec::new();
        let mut read = |after, most, stop| {
            log.visit(RUN, after, most, |place, _, _| {
                seen.push(place.number);
                place.number != stop
            })
        };
        assert_eq!(read(place(10), 3, 0), Ok(place(13)));
        assert_eq!(read(place(13), 9, 14), Ok(place(13)), "14 was not taken, and comes again");
        assert_eq!(read(place(13), 9, 0), Ok(place(16)));
        assert_eq!(seen, [11, 13, 14, 14, 16]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_continues_only_where_the_log_reaches() {
        let log = log(16, LogLimits::default());
        let at = |number, milliseconds| Place { number, id: EventId::at(milliseconds) };
        let other = |number, milliseconds| Place { number, id: EventId(milliseconds, 0) };
        type Found = Result<&'static [u64], OutOfRange>;
        let table: [(&str, Run, Place, Found); 14] = [
            ("the end", RUN, place(16), Ok(&[])),
            ("one before", RUN, place(15), Ok(&[16])),
            ("an event without a change", RUN, place(12), Ok(&[13, 14, 16])),
            ("the base", RUN, place(10), Ok(&[11, 13, 14, 16])),
            ("a time after it", RUN, at(13, 1_014), Ok(&[14, 16])),
            ("a time after the last", RUN, at(16, 9_000), Ok(&[])),
            ("a time before it", RUN, at(13, 1_013), Err(OutOfRange::Expired)),
            ("a time after the next", RUN, at(13, 1_015), Err(OutOfRange::Expired)),
            ("too old", RUN, place(9), Err(OutOfRange::Expired)),
            ("the first", RUN, place(0), Err(OutOfRange::Expired)),
            ("not yet", RUN, place(17), Err(OutOfRange::Ahead)),
            ("an earlier event of this number", RUN, other(13, 500), Err(OutOfRange::Expired)),
            ("an earlier event at the base", RUN, other(10, 500), Err(OutOfRange::Expired)),
            ("another run", Run(8), place(16), Err(OutOfRange::Expired)),
        ];
        for (case, run, after, found) in table {
            assert_eq!(since(&log, run, after), found.map(<[_]>::to_vec), "{case}");
        }
        assert_eq!(log.end(), place(16));
        assert_eq!([9, 17, 10, 13].map(|n| log.place(n)), [other(9, 0), other(17, 0), place(10), place(13)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_without_events_tells_silence_from_loss() {
        let minutes = |n: u64| 10_000_000 + n * 60_000;
        let at = |number, n| Place { number, id: EventId::at(minutes(n)) };
        let begun = |number| {
            let mut log = Log::new(None, LogLimits::default());
            log.begin(RUN, at(number, 60));
            log
        };
        // It was silent for 20 min, or it was emptied and has no number.
        for (number, minute, expected) in [
            (7, 60, Ok(0)),
            (7, 41, Ok(0)),
            (7, 39, Err(OutOfRange::Expired)),
            (0, 60, Ok(0)),
            (0, 59, Err(OutOfRange::Expired)),
        ] {
            assert_eq!(begun(number).check(RUN, at(number, minute)), expected, "{number} at {minute}");
        }
        let mut log = begun(7);
        log.confirm(EventId::at(minutes(70)));
        log.confirm(EventId::at(minutes(65)));
        assert_eq!((log.now(), log.end()), (at(7, 70), at(7, 60)));
        log.push(Place { number: 8, id: EventId(minutes(80), 0) }, BootTime::now(), None);
        assert_eq!(log.now(), log.end());
        assert_eq!(log.check(RUN, at(7, 70)), Ok(0));
    }

    #[tokio::test(start_paused = true)]
    async fn the_log_is_bounded_in_number_bytes_and_time() {
        let numbers = |log: &Log, base| {
            since(log, RUN, place(base)).map(|changes| changes.len()).map_err(|_| log.base.number)
        };
        let short = log(40, LogLimits { events: 5, ..LogLimits::default() });
        assert_eq!((short.size().0, short.base, numbers(&short, 35)), (5, place(35), Ok(3)));
        assert_eq!(numbers(&short, 34), Err(35), "a trimmed log knows that it is");
        let small = log(1_000, LogLimits { bytes: 4_000, ..LogLimits::default() });
        assert!(small.size().1 <= 4_000 && small.size().0 > 10, "{:?}", small.size());
        let mut old = log(16, LogLimits::default());
        tokio::time::advance(KEPT_FOR + Duration::from_secs(1)).await;
        old.push(place(17), BootTime::now(), Some((user("late"), change())));
        assert_eq!((old.size().0, old.base), (1, place(16)));
        assert_eq!(numbers(&old, 16), Ok(1));
        let bytes = old.size().1;
        old.push(place(18), BootTime::now(), None);
        tokio::time::advance(KEPT_FOR + Duration::from_secs(1)).await;
        old.push(place(19), BootTime::now(), Some((user("late"), change())));
        assert_eq!(old.size().1, bytes, "what is forgotten takes no memory");
    }

    #[tokio::test(start_paused = true)]
    async fn a_log_that_begins_again_has_nothing_from_before() {
        let mut log = log(16, LogLimits::default());
        log.begin(Run(8), place(3));
        assert_eq!((log.size(), log.end(), log.run()), ((0, 0), place(3), Some(Run(8))));
        assert!(log.check(RUN, place(16)).is_err());
        assert_eq!(since(&log, Run(8), place(3)), Ok(Vec::new()));
        // In the same run the numbers went back: those from before may be given out again.
        log.begin(Run(8), place(0));
        (1..=5).for_each(|n| log.push(Place { number: n, id: EventId(9_000 + n, 0) }, BootTime::now(), None));
        assert_eq!(log.check(Run(8), place(3)), Err(OutOfRange::Expired));
    }
}
