//! The place of this replica in a stream of events, and whether it missed one. Pure.

use super::{Event, StreamEnd, StreamPosition};

/// Follows the numbers of the events, each one more than the last.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Follower {
    /// The last event that was read.
    pub position: StreamPosition,
    number: u64,
    /// The run of the server that gave out the numbers.
    run: String,
    /// The newest event that the server has named.
    newest: u64,
}

/// What the follower learns from the server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Seen {
    /// Nothing was missed.
    Whole,
    /// Events were missed, or may have been.
    Gap,
    /// The server is another one, or has started again: it may have lost events, and invalidations.
    NewRun,
}

impl Follower {
    /// Begins at the end of the stream.
    pub fn at(end: StreamEnd) -> Self {
        let StreamEnd { number, position, run, .. } = end;
        Self { position, number, run, newest: number }
    }

    /// Returns the run of the server that gave out the numbers.
    pub fn run(&self) -> &str {
        &self.run
    }

    /// Returns whether no event is known that was not read.
    pub fn is_at_end(&self) -> bool {
        self.newest == self.number
    }

    /// Notes an event that was read.
    pub fn read(&mut self, event: &Event) -> Seen {
        let is_next = self.number.checked_add(1) == Some(event.number);
        (self.number, self.position) = (event.number, event.position.clone());
        self.newest = self.newest.max(event.number);
        if is_next { Seen::Whole } else { Seen::Gap }
    }

    /// Notes the end of the stream, after a read that found nothing or after a reconnect. An event
    /// that was published in between is read next; it is missing only if it is not.
    pub fn found_nothing_until(&mut self, end: StreamEnd) -> Seen {
        let seen = match () {
            () if end.run != self.run => Seen::NewRun,
            () if end.number < self.number || self.newest > self.number => Seen::Gap,
            () => Seen::Whole,
        };
        match seen {
            Seen::Whole => self.newest = end.number,
            Seen::Gap | Seen::NewRun => *self = Self::at(end),
        }
        seen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_seen_and_an_event_in_between_is_none() {
        // What is read or found, and what follows from it. The follower begins at 5 of the run "a".
        type Step = (Input, Seen);
        let table: [(&str, &[Step]); 9] = [
            ("the next", &[(Read(6), Seen::Whole), (Read(7), Seen::Whole)]),
            ("one is missing", &[(Read(7), Seen::Gap), (Read(8), Seen::Whole)]),
            ("an old number", &[(Read(5), Seen::Gap)]),
            ("nothing new", &[(End("a", 5), Seen::Whole), (End("a", 5), Seen::Whole)]),
            (
                "published in between",
                &[(End("a", 6), Seen::Whole), (Read(6), Seen::Whole), (End("a", 6), Seen::Whole)],
            ),
            (
                "not readable",
                &[(End("a", 6), Seen::Whole), (End("a", 6), Seen::Gap), (End("a", 6), Seen::Whole)],
            ),
            ("numbers gone back", &[(End("a", 4), Seen::Gap), (Read(5), Seen::Whole)]),
            ("another run", &[(End("b", 5), Seen::NewRun), (Read(6), Seen::Whole)]),
            ("deleted", &[(End("a", 0), Seen::Gap), (Read(1), Seen::Whole)]),
        ];
        for (case, steps) in table {
            let mut follower = Follower::at(end("a", 5));
            for (n, (input, seen)) in steps.iter().enumerate() {
                let saw = match *input {
                    Read(number) => follower.read(&event(number)),
                    End(run, number) => follower.found_nothing_until(end(run, number)),
                };
                assert_eq!(saw, *seen, "{case}, step {n}");
            }
        }
    }

    #[derive(Clone, Copy)]
    enum Input {
        Read(u64),
        End(&'static str, u64),
    }
    use Input::{End, Read};

    fn event(number: u64) -> Event {
        Event { position: StreamPosition(format!("{number}-0")), number, sealed: Vec::new() }
    }

    fn end(run: &str, number: u64) -> StreamEnd {
        let position = StreamPosition(format!("{number}-0"));
        StreamEnd { now: super::super::ServerTime::default(), number, position, run: run.to_owned() }
    }
}
