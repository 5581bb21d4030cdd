//! The cache that all replicas share, in Valkey or Redis.
//!
//! The store sees no user: its keys are hashes, and its values and events are sealed.

mod call;
#[cfg(test)]
pub(crate) mod fixtures;
mod index;
mod keys;
mod namespace;
mod seal;
mod secret;
pub mod stored;

pub use self::{
    call::{Call, CallError, Event, Events, Reply, Script, StreamPosition, Transport},
    index::{IndexKey, UserKey},
    keys::ValueKeys,
    namespace::{InvalidNamespace, Namespace},
    seal::{Binding, KeyAge, MAX_PLAIN_BYTES, NotSealed, Opened, Sealer, Unreadable, ValueKind},
};
