//! The calls of the scripts that work on the stream of events.

use std::time::Duration;

use super::{
    args::{Parts, micros},
    call::{Call, CallError, Reply, StreamPosition},
    scripts::{POSITION, PUBLISH},
    server_time::ServerTime,
};

/// The streams that are kept as long as a token can live, each with a bound of its own: many changes
/// of groups remove no revocation.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum MarkStream {
    /// The times until which the groups in tokens are old.
    GroupChanges,
    /// The tokens that are refused.
    Revocations,
}

/// The keys of a stream of events, in one slot.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EventKeys {
    counter: String,
    stream: String,
}

impl EventKeys {
    /// Returns the keys of a namespace's invalidations.
    pub fn new(namespace: &str) -> Self {
        Self::named(namespace, "e1", "e")
    }

    /// Returns the keys of a namespace's stream of marks.
    pub fn of_marks(namespace: &str, stream: MarkStream) -> Self {
        match stream {
            MarkStream::GroupChanges => Self::named(namespace, "g1", "g"),
            MarkStream::Revocations => Self::named(namespace, "r1", "r"),
        }
    }

    /// Returns keys that nobody writes, in the slot of this hash tag.
    pub(super) fn unused(namespace: &str, tag: &str) -> Self {
        Self::named(namespace, "probe", tag)
    }

    fn named(namespace: &str, name: &str, tag: &str) -> Self {
        let key = |part| format!("{namespace}:{name}:{{{tag}}}:{part}");
        Self { counter: key("n"), stream: key("s") }
    }

    /// Returns the key of the stream, for [`Transport::read`](super::Transport::read).
    pub fn stream(&self) -> &str {
        &self.stream
    }

    fn both(&self) -> Vec<String> {
        vec![self.counter.clone(), self.stream.clone()]
    }
}

/// Appends an event to the stream.
#[derive(Clone, Copy, Debug)]
pub struct Publish<'a> {
    /// What it says, sealed.
    pub sealed: &'a [u8],
    /// How long events are kept. An event is gone at most twice this time later.
    pub keep: Duration,
    /// The most events that are kept; the server may keep a few more.
    pub max_len: u32,
    /// How long an event is needed. The reply reports those that are removed earlier, because there
    /// are too many; with zero, none.
    pub needed_for: Duration,
}

impl Publish<'_> {
    /// Returns the call. [`Published::parse`] reads its reply.
    pub fn call(&self, keys: &EventKeys) -> Call {
        let max_len = self.max_len.to_string().into_bytes();
        let args = vec![self.sealed.into(), micros(self.keep), max_len, micros(self.needed_for)];
        Call { script: &PUBLISH, keys: keys.both(), args }
    }
}

/// The event that [`Publish`] appended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Published {
    /// Its number: one more than that of the event before it.
    pub number: u64,
    /// Its place.
    pub position: StreamPosition,
    /// How many events were removed that may still be needed.
    pub removed: u64,
}

impl Published {
    /// Reads the reply to a [`Publish`].
    ///
    /// # Errors
    ///
    /// [`CallError::Script`] if it is not one.
    pub fn parse(reply: Reply) -> Result<Self, CallError> {
        let mut parts = Parts::of(reply);
        Ok(Self {
            number: parts.number()?,
            position: StreamPosition(parts.text()?),
            removed: parts.number()?,
        })
    }
}

/// Where the stream of events ends.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StreamEnd {
    /// The server's time.
    pub now: ServerTime,
    /// The number of the last event, 0 if there was none for a day.
    pub number: u64,
    /// The place of the last event that is kept, `0-0` if none is.
    pub position: StreamPosition,
    /// The run of the server, which a restart or a failover changes; empty if it is not known.
    pub run: String,
}

impl StreamEnd {
    /// Returns the call that asks for it.
    pub fn call(keys: &EventKeys) -> Call {
        Call { script: &POSITION, keys: keys.both(), args: Vec::new() }
    }

    /// Reads the reply.
    ///
    /// # Errors
    ///
    /// [`CallError::Script`] if it is not one.
    pub fn parse(reply: Reply) -> Result<Self, CallError> {
        let mut parts = Parts::of(reply);
        Ok(Self {
            now: parts.time()?,
            number: parts.number()?,
            position: StreamPosition(parts.text()?),
            run: parts.text()?,
        })
    }
}

/// Hash tags whose slots lie in the four quarters of a cluster's 16384 slots (by CRC16).
pub(super) const SLOT_TAGS: [&str; 4] = ["kz", "zx", "jb", "nz"];
