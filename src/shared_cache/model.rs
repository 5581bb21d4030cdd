//! A model of the store and of the connections to it, on Tokio's paused clock. What happens in a test
//! follows from the seed of `fastrand` alone.

mod link;
mod oracle;
pub(crate) mod rate_limit;
mod store;
mod tests;

pub(crate) use self::{
    link::{LinkFaults, ModelLink},
    store::ModelStore,
};
use super::{Call, CallError, Event, Events, Reply, ServerTime, StreamPosition, Transport, ValueKind};
