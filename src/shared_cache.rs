//! The cache that all replicas share, in Valkey or Redis.
//!
//! The store sees no user: its keys are hashes, and its values and events are sealed.

mod address;
mod args;
mod breaker;
mod call;
mod config;
mod entries;
mod fault;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fixtures;
mod follower;
mod iam;
mod index;
mod keys;
mod kind;
mod lane;
mod lease;
mod link;
#[cfg(test)]
pub(crate) mod model;
mod namespace;
mod password;
pub mod rate_limit;
mod reader;
mod script_errors;
pub mod scripts;
mod seal;
mod secret;
mod server_time;
mod store;
pub mod stored;
mod stream;
mod supervisor;
mod target;
mod tls;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use self::seal::fuzzing::sealed;
pub use self::{
    call::{Call, CallError, Event, Events, Reply, Script, StreamPosition, Transport},
    config::SharedCacheConfig,
    entries::{Invalidate, LeaseState, Look, LookOutcome, Looked, NewLease, OldValue, Put, Release, Renew},
    follower::{Follower, Seen},
    index::{IndexKey, UserKey},
    keys::ValueKeys,
    kind::ValueKind,
    lease::LeaseToken,
    link::Link,
    namespace::{InvalidNamespace, Namespace},
    seal::{Binding, KeyAge, MAX_PLAIN_BYTES, NotSealed, Opened, Sealer, Unreadable},
    server_time::{MAX_SKEW, ServerTime},
    store::SharedCache,
    stream::{EventKeys, MarkStream, Publish, Published, StreamEnd},
    target::{Address, Auth, ClientFiles, Iam, Mode, Target, Tls},
};
