//! The attributes of the queue and of its messages. SQS has strings only.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use super::super::{
    pool::ACCOUNT,
    queue::Message,
    state::{QUEUE_NAME, State},
};

/// The attributes of the queue that are in `names`.
pub(super) fn of_queue(state: &State, names: &[String]) -> Value {
    let counts = state.queue.counts();
    let arn = format!("arn:aws:sqs:{}:{ACCOUNT}:{QUEUE_NAME}", state.region());
    let all = [
        ("QueueArn", arn),
        ("ApproximateNumberOfMessages", counts.visible.to_string()),
        ("ApproximateNumberOfMessagesNotVisible", counts.in_flight.to_string()),
        ("ApproximateNumberOfMessagesDelayed", counts.delayed.to_string()),
        ("VisibilityTimeout", VISIBILITY_TIMEOUT.as_secs().to_string()),
        ("ReceiveMessageWaitTimeSeconds", "0".to_owned()),
        ("DelaySeconds", "0".to_owned()),
        ("MessageRetentionPeriod", "86400".to_owned()),
        ("SqsManagedSseEnabled", "false".to_owned()),
    ];
    chosen(all, names)
}

/// The attributes of a received message that are in `names`.
pub(super) fn of_message(message: &Message, names: &[String]) -> Value {
    let all = [
        ("SenderId", ACCOUNT.to_owned()),
        ("SentTimestamp", milliseconds(message.sent_at)),
        ("ApproximateReceiveCount", message.receives.to_string()),
        ("ApproximateFirstReceiveTimestamp", milliseconds(message.first_received_at.unwrap_or(UNIX_EPOCH))),
    ];
    chosen(all, names)
}

fn chosen(all: impl IntoIterator<Item = (&'static str, String)>, names: &[String]) -> Value {
    let is_chosen = |name: &str| names.iter().any(|chosen| chosen == name || chosen == "All");
    let chosen = all.into_iter().filter(|(name, _)| is_chosen(name));
    Value::Object(chosen.map(|(name, value)| (name.to_owned(), json!(value))).collect::<Map<_, _>>())
}

fn milliseconds(time: SystemTime) -> String {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis().to_string()
}

/// The visibility timeout of a receive that names none.
pub(super) const VISIBILITY_TIMEOUT: Duration = Duration::from_secs(30);
