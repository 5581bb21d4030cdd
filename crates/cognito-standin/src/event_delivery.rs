//! What happens to events on their way to the queue.

use std::time::Duration;

use serde_json::Value;

use super::json::{insert, remove};

/// How the stand-in delivers the events of changes to its queue. The default delivers each event
/// once, at once, whole and in order.
///
/// CloudTrail and EventBridge promise none of that: delivery is best effort, an event can come
/// twice, and a standard queue keeps no order.
#[derive(Clone, Debug, Default)]
pub struct EventDelivery {
    /// Receivers see the event this long after the change.
    pub delay: Duration,
    /// The event never reaches the queue. The trail has it all the same.
    pub drop: bool,
    /// The queue gets the event twice.
    pub duplicate: bool,
    /// The event gets a random place among the messages that are in the queue.
    pub shuffle: bool,
    /// The message ends in the middle, so it is not JSON.
    pub garble: bool,
    /// The `errorCode` of the event, as if the call had failed.
    pub error_code: Option<String>,
    /// The event lacks the user's `sub`, in the queue and in the trail.
    pub hide_sub: bool,
    /// The event lacks the user pool's id, in the queue and in the trail.
    pub hide_pool: bool,
}

impl EventDelivery {
    /// Changes a CloudTrail record.
    pub(super) fn edit(&self, mut record: Value) -> Value {
        if let Some(code) = &self.error_code {
            insert(&mut record, "errorCode", code.as_str());
        }
        if self.hide_sub {
            remove(&mut record, "/additionalEventData", "sub");
            remove(&mut record, "/responseElements", "userSub");
        }
        if self.hide_pool {
            remove(&mut record, "/requestParameters", "userPoolId");
        }
        record
    }

    pub(super) fn body(&self, body: &str) -> String {
        let half = if self.garble { body.len() / 2 } else { body.len() };
        body.chars().take(half).collect()
    }

    pub(super) fn copies(&self) -> usize {
        if self.duplicate { 2 } else { 1 }
    }
}
