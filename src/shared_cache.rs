//! The cache that all replicas share, in Valkey or Redis.

mod call;

pub use self::call::{Call, CallError, Event, Events, Reply, Script, StreamPosition, Transport};
