//! The calls of the scripts that work on the stream of events.

use std::time::Duration;

use super::{
    args::{Parts, micros},
    call::{Call, CallError, Reply, StreamPosition},
    scripts::{POSITION, PUBLISH},
    server_time::ServerTime,
};

/// The keys of a stream of events, in one slot.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EventKeys {
    counter: String,
    stream: String,
}

impl EventKeys {
    /// Returns the keys of a namespace's invalidations.
    pub fn new(namespace: &str) -> Self {
        Self { counter: format!("{namespace}:e1:{{e}}:n"), stream: format!("{namespace}:e1:{{e}}:s") }
    }

    /// Returns the keys of a namespace's revocations.
    pub fn of_revocations(namespace: &str) -> Self {
        Self { counter: format!("{namespace}:r1:{{r}}:n"), stream: format!("{namespace}:r1:{{r}}:s") }
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
}

impl Publish<'_> {
    /// Returns the call. [`Published::parse`] reads its reply.
    pub fn call(&self, keys: &EventKeys) -> Call {
        let args = vec![self.sealed.into(), micros(self.keep), self.max_len.to_string().into_bytes()];
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
}

impl Published {
    /// Reads the reply to a [`Publish`].
    ///
    /// # Errors
    ///
    /// [`CallError::Script`] if it is not one.
    pub fn parse(reply: Reply) -> Result<Self, CallError> {
        let mut parts = Parts::of(reply);
        Ok(Self { number: parts.number()?, position: StreamPosition(parts.text()?) })
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
