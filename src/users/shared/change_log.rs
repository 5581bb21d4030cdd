//! Feeds the log of changes with the events of all replicas, in their order.

use std::time::Duration;

use super::{super::Users, Shared, change::reported, opened::read};
use crate::{
    changes::{Change, Changed, EventId, Place},
    shared_cache::{Event, Seen, ServerTime, StreamEnd, StreamPosition, stored},
};

type LoggedEvent = (Place, Option<(Changed, Change)>);

impl Users {
    /// Begins the log of changes with the events that the store keeps up to `end`, so that a stream can
    /// continue on a replica that has just started.
    pub(super) async fn begin_log(&self, shared: &Shared, end: &StreamEnd) {
        if self.changes().is_on() {
            let kept = kept_events(shared, end).await;
            self.changes().begin(&end.run, end_place(end), kept);
        }
    }

    /// Appends an event to the log. One that cannot be read may be about any user.
    pub(super) fn log_event(&self, run: &str, event: &Event, opened: Option<&stored::Event>, seen: Seen) {
        let (changes, place) = (self.changes(), place(event));
        match opened.and_then(logged).filter(|_| seen == Seen::Whole) {
            Some(change) => changes.append_event(place, change),
            None => changes.lose_until(run, place),
        }
    }
}

/// Reads the events that are kept, from the first after which none is missing. Returns none if they
/// cannot be read up to `end`.
async fn kept_events(shared: &Shared, end: &StreamEnd) -> Vec<LoggedEvent> {
    let (mut kept, mut position) = (Vec::<LoggedEvent>::new(), StreamPosition::start());
    for _ in 0..MAX_READS {
        let Ok(events) = shared.store.events(&position, Duration::ZERO).await else { return Vec::new() };
        for event in &events.0 {
            if event.number > end.number {
                break;
            }
            let place = place(event);
            if kept.last().is_some_and(|(last, _)| !is_next(*last, place)) {
                kept.clear();
            }
            match read(shared, event).ok().as_ref().and_then(logged) {
                Some(change) => kept.push((place, change)),
                None => kept.clear(),
            }
            position = event.position.clone();
        }
        let is_at_end = events.0.last().is_none_or(|last| last.number >= end.number);
        if is_at_end {
            break;
        }
    }
    let reaches_end = kept.last().is_some_and(|(last, _)| last.number == end.number);
    if reaches_end { kept } else { Vec::new() }
}

/// Returns whether an event comes right after another. The store may give out any number.
fn is_next(last: Place, event: Place) -> bool {
    last.number.checked_add(1) == Some(event.number)
}

/// Returns the change that an event reports, or none. Fails if there is one that cannot be read.
fn logged(event: &stored::Event) -> Option<Option<(Changed, Change)>> {
    use stored::EventKind::{Changed, Erase, Expire, Forget, Revoke, Unspecified};
    match (event.kind(), reported(event)) {
        (_, Some(change)) => Some(Some(change)),
        (Revoke | Unspecified, None) => Some(None),
        (Changed | Erase | Expire | Forget, None) => None,
    }
}

/// Returns the place of the last event. If none is kept, it has the present time.
pub(super) fn end_place(end: &StreamEnd) -> Place {
    let id = EventId::parse(&end.position.0).unwrap_or_else(|| EventId::at(milliseconds(end.now)));
    Place { number: end.number, id }
}

/// Returns a time in milliseconds, as the ids of events have it.
pub(super) fn milliseconds(time: ServerTime) -> u64 {
    time.as_micros() / 1_000
}

/// Returns the place of an event.
pub(super) fn place(event: &Event) -> Place {
    Place { number: event.number, id: EventId::parse(&event.position.0).unwrap_or_default() }
}

// Of at most `Events::MOST` each.
const MAX_READS: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_next_by_its_number_whatever_the_store_says() {
        let place = |number| Place { number, id: EventId::default() };
        let table = [(1, 2, true), (1, 3, false), (2, 2, false), (u64::MAX, 0, false), (u64::MAX, 1, false)];
        for (last, event, expected) in table {
            assert_eq!(is_next(place(last), place(event)), expected, "{last}, {event}");
        }
    }
}
