//! Changes of users that AWS or an application reports through a queue.
//!
//! A message is a hint, never an answer: no value of a user is read from it, and it causes no call to
//! Cognito. It makes cached users expire, and ends sessions.

mod applied;
mod applier;
mod backoff;
mod catch_up;
mod change;
mod cloudtrail;
mod config;
mod consumer;
mod erasure;
mod fields;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod message;
mod names;
mod notices;
mod queue;
mod queue_url;
mod repeats;
mod staleness;
mod trail;
mod user_change;

pub use self::{
    catch_up::CaughtUp,
    change::{Change, ChangeKind, ChangedPools, Ignored, Reason, Subject},
    config::EventsConfig,
    consumer::Consumer,
    message::parse,
    queue_url::{InvalidQueueUrl, QueueUrl},
};

#[cfg(test)]
mod tests;
