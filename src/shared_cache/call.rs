//! A call of a script at the store, and what carries it there.

use std::{fmt::Debug, time::Duration};

use futures_util::future::BoxFuture;
use thiserror::Error;

/// A Lua script. The store runs it as one step, and all its keys are in one slot.
#[derive(Debug, Eq, PartialEq)]
pub struct Script {
    /// Its name in metrics and in the log.
    pub name: &'static str,
    /// Its text.
    pub source: &'static str,
}

/// One call of a script.
#[derive(Clone, Debug)]
pub struct Call {
    /// The script.
    pub script: &'static Script,
    /// All keys that it reads or writes.
    pub keys: Vec<String>,
    /// Its arguments.
    pub args: Vec<Vec<u8>>,
}

/// What a script returned.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Reply {
    /// Nothing, Lua's `false`.
    Nil,
    /// A whole number.
    Int(i64),
    /// A text, or sealed data.
    Bytes(Vec<u8>),
    /// A table of replies.
    Array(Vec<Self>),
}

/// Why a call of the store failed. The call may have had its effect.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum CallError {
    /// There is no connection, or the circuit breaker is open: nothing was sent.
    #[error("the shared cache is unavailable")]
    Unavailable,
    /// It did not answer within `shared_cache.timeout`.
    #[error("the shared cache did not answer in time")]
    Timeout,
    /// The connection ended, or the server refuses commands at present.
    #[error("the shared cache failed")]
    Failed,
    /// The clocks of the store and of this replica differ by too much.
    #[error("the clocks of the shared cache and of this replica differ by more than 10 s")]
    Clock,
    /// The script failed, or returned what cannot be read: a bug, or not the server we expect.
    #[error("a script of the shared cache failed")]
    Script,
}

/// The place of an event in its stream: the id that the server gave it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StreamPosition(pub String);

impl StreamPosition {
    /// Returns the position before all events.
    pub fn start() -> Self {
        Self("0-0".to_owned())
    }
}

/// One event of the stream.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Event {
    /// Its place.
    pub position: StreamPosition,
    /// Its number: one more than that of the event before it.
    pub number: u64,
    /// What it says, sealed.
    pub sealed: Vec<u8>,
}

/// What a read of the stream returned.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Events(pub Vec<Event>);

impl Events {
    /// The most that one read returns. One that returns fewer has read all there were.
    pub const MOST: usize = 1_000;
}

/// Carries calls to the store. Production has the link to Valkey, tests a model of the scripts.
pub trait Transport: Debug + Send + Sync {
    /// Returns whether calls are sent at present: one atomic load.
    fn is_available(&self) -> bool;

    /// Runs a script. Ends within `shared_cache.timeout`.
    fn call(&self, call: Call) -> BoxFuture<'_, Result<Reply, CallError>>;

    /// Runs a script on the connection of the events, in order with [`read`](Self::read).
    fn call_for_events(&self, call: Call) -> BoxFuture<'_, Result<Reply, CallError>>;

    /// Waits up to `wait` for events of the stream `key` after a position; none came if the result
    /// is empty.
    fn read<'a>(
        &'a self,
        key: &'a str,
        after: &'a StreamPosition,
        wait: Duration,
    ) -> BoxFuture<'a, Result<Events, CallError>>;
}
