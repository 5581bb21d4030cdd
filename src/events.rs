//! Changes of users that AWS or an application reports through a queue.
//!
//! A message is a hint, never an answer: no value of a user is read from it.

mod change;
mod cloudtrail;
mod config;
mod fields;
mod message;
mod names;
mod queue_url;
mod user_change;

pub use self::{
    change::{Change, ChangeKind, ChangedPools, Ignored, Reason, Subject},
    config::EventsConfig,
    message::parse,
    queue_url::{InvalidQueueUrl, QueueUrl},
};

#[cfg(test)]
mod tests;
