//! The rate limit that all replicas share: its log is in the store, and each replica asks for one call
//! at a time.
//!
//! The queues, whose turn it is, and who is refused at once are as in the limiter of one process,
//! whose log stays as a second bound. Without the store, a replica has a small allowance of its own.

mod contact;
mod driver;
mod gate;
mod lane;
#[cfg(test)]
mod model;
mod store_clock;
#[cfg(test)]
mod tests;

pub(super) use self::{
    contact::Scope,
    driver::drive,
    gate::{Ask, AskingCaller, Gate, Outbox, Payment},
    store_clock::Reading,
};
