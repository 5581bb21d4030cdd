//! The places of changes in the log.

use aws_lc_rs::digest::{SHA256, digest};

/// The place of an event: its number, one more than that of the event before, and its id in the stream
/// of the replicas. A store that was emptied gives out numbers again, but no ids.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Place {
    /// The number.
    pub number: u64,
    /// The id, or a time after the event and before the next one.
    pub id: EventId,
}

/// The id of an event in the stream of the store: its time in milliseconds, and a number. Later events
/// have greater ones.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct EventId(pub(super) u64, pub(super) u64);

/// Where numbers are unique: a run of the store, or a process.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Run(pub(super) u64);

impl Place {
    /// Returns the place of the next event of a process that is alone.
    pub(super) fn next(self) -> Self {
        let number = self.number.saturating_add(1);
        Self { number, id: EventId(number, 0) }
    }
}

impl EventId {
    /// Reads an id such as `1795614746007-0`; none for `0-0`, which is that of no event.
    pub fn parse(text: &str) -> Option<Self> {
        let (time, number) = text.split_once('-')?;
        Some(Self(time.parse().ok()?, number.parse().ok()?)).filter(|id| *id != Self::default())
    }

    /// Returns a time, in milliseconds of the store's clock: after all events before it, and before all
    /// that come at this time or later.
    pub fn at(milliseconds: u64) -> Self {
        Self(milliseconds.saturating_sub(1), u64::MAX)
    }

    /// Returns whether it is a time, and not the id of an event.
    pub(super) fn is_time(self) -> bool {
        self.1 == u64::MAX
    }
}

impl Run {
    /// Returns the run of a process that is alone, which has this random number.
    pub(super) fn of_process(random: u64) -> Self {
        Self(random)
    }

    /// Returns the run of a store, from the id that it names itself by.
    pub(super) fn of_store(id: &str) -> Self {
        let digest = digest(&SHA256, id.as_bytes());
        Self(digest.as_ref().first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes)))
    }
}
