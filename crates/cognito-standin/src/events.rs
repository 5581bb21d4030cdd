//! The CloudTrail events of changes, and how they get into the queue.

mod record;

use std::{sync::Arc, time::SystemTime};

use serde_json::{Value, json};
use uuid::Uuid;

pub(super) use self::record::Occurrence;
use super::{event_delivery::EventDelivery, lock::lock, queue::Queue, state::State};

/// Records a call in the trail. A successful one also becomes a message in the queue, as by the
/// EventBridge rule that the service ships.
pub(super) fn publish(state: &State, occurrence: &Occurrence<'_>) {
    let delivery = lock(&state.event_delivery).clone();
    let record = delivery.edit(record::record(state, occurrence, SystemTime::now()));
    if occurrence.error.is_none() && !delivery.drop {
        send(&target(state), &delivery, &envelope(&record).to_string());
    }
    lock(&state.trail).add(record);
}

/// The EventBridge event of a call that ends now.
pub(super) fn event(state: &State, occurrence: &Occurrence<'_>) -> Value {
    envelope(&record::record(state, occurrence, SystemTime::now()))
}

fn envelope(record: &Value) -> Value {
    json!({
        "version": "0",
        "id": Uuid::new_v4().to_string(),
        "detail-type": "AWS API Call via CloudTrail",
        "source": "aws.cognito-idp",
        "account": record["recipientAccountId"],
        "time": record["eventTime"],
        "region": record["awsRegion"],
        "resources": [],
        "detail": record,
    })
}

fn target(state: &State) -> Arc<Queue> {
    Arc::clone(&lock(&state.event_queue))
}

fn send(queue: &Queue, delivery: &EventDelivery, body: &str) {
    for _ in 0..delivery.copies() {
        let body = delivery.body(body);
        if delivery.shuffle {
            queue.send_shuffled(body, delivery.delay, random_place);
        } else {
            queue.send(body, delivery.delay);
        }
    }
}

/// One of the `len + 1` places in a queue of `len` messages.
fn random_place(len: usize) -> usize {
    let random = usize::from_le_bytes(Uuid::new_v4().into_bytes().first_chunk().copied().unwrap_or_default());
    random % (len + 1)
}
