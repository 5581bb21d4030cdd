//! The operations on messages and on the queue.

use serde_json::{Value, json};

use super::{
    super::{
        json::insert,
        queue::{Message, Receive},
        state::{QUEUE_NAME, State},
    },
    attributes::{self, VISIBILITY_TIMEOUT},
    batch,
    error::SqsError,
    input::{check_queue, member, number, seconds},
    md5::md5,
};

type OperationResult = Result<Value, SqsError>;

/// Executes any operation but `ReceiveMessage`.
pub(super) fn execute(state: &State, operation: &str, input: &Value) -> OperationResult {
    match operation {
        "GetQueueUrl" => return queue_url(state, input),
        "ListQueues" => return Ok(json!({"QueueUrls": [state.queue_url()]})),
        _ => check_queue(state, input)?,
    }
    match operation {
        "SendMessage" => send(state, input),
        "SendMessageBatch" => batch::each(input, |entry| send(state, entry)),
        "DeleteMessage" => delete(state, input),
        "DeleteMessageBatch" => batch::each(input, |entry| delete(state, entry)),
        "ChangeMessageVisibility" => change_visibility(state, input),
        "ChangeMessageVisibilityBatch" => batch::each(input, |entry| change_visibility(state, entry)),
        "GetQueueAttributes" => queue_attributes(state, input),
        "PurgeQueue" => {
            state.queue.purge();
            Ok(json!({}))
        }
        _ => Err(SqsError::UnsupportedOperation),
    }
}

/// `ReceiveMessage`. Cancel safe: a client that disconnects gets no message.
pub(super) async fn receive(state: &State, input: &Value) -> OperationResult {
    check_queue(state, input)?;
    let most = number(input, "MaxNumberOfMessages", 1, 10)?;
    let request = Receive {
        most: usize::try_from(most).unwrap_or_default(),
        wait: seconds(input, "WaitTimeSeconds", 0, 20)?,
        visibility_timeout: seconds(input, "VisibilityTimeout", VISIBILITY_TIMEOUT.as_secs(), DAY / 2)?,
    };
    let names = message_attribute_names(input)?;
    let received = state.queue.receive(&request).await;
    if received.is_empty() {
        return Ok(json!({}));
    }
    Ok(
        json!({"Messages": received.iter().map(|message| received_message(message, &names)).collect::<Vec<_>>()}),
    )
}

/// The present name of the member, and the former one that the AWS CLI still has.
fn message_attribute_names(input: &Value) -> Result<Vec<String>, SqsError> {
    let mut names: Option<Vec<String>> = member(input, "MessageSystemAttributeNames")?;
    if names.is_none() {
        names = member(input, "AttributeNames")?;
    }
    Ok(names.unwrap_or_default())
}

fn received_message(message: &Message, names: &[String]) -> Value {
    let mut output = json!({
        "MessageId": message.id,
        "ReceiptHandle": message.receipt(),
        "MD5OfBody": md5(&message.body),
        "Body": message.body,
    });
    if !names.is_empty() {
        insert(&mut output, "Attributes", attributes::of_message(message, names));
    }
    output
}

fn send(state: &State, input: &Value) -> OperationResult {
    let body: String = member(input, "MessageBody")?;
    let delay = seconds(input, "DelaySeconds", 0, 900)?;
    let digest = md5(&body);
    Ok(json!({"MessageId": state.queue.send(body, delay), "MD5OfMessageBody": digest}))
}

fn delete(state: &State, input: &Value) -> OperationResult {
    let receipt: String = member(input, "ReceiptHandle")?;
    state.queue.delete(&receipt).ok_or(SqsError::ReceiptHandleIsInvalid)?;
    Ok(json!({}))
}

fn change_visibility(state: &State, input: &Value) -> OperationResult {
    let receipt: String = member(input, "ReceiptHandle")?;
    let time = seconds(input, "VisibilityTimeout", 0, DAY / 2)?;
    state.queue.hide(&receipt, time).ok_or(SqsError::ReceiptHandleIsInvalid)?;
    Ok(json!({}))
}

fn queue_url(state: &State, input: &Value) -> OperationResult {
    let name: String = member(input, "QueueName")?;
    if name == QUEUE_NAME {
        Ok(json!({"QueueUrl": state.queue_url()}))
    } else {
        Err(SqsError::QueueDoesNotExist)
    }
}

fn queue_attributes(state: &State, input: &Value) -> OperationResult {
    let names: Option<Vec<String>> = member(input, "AttributeNames")?;
    Ok(json!({"Attributes": attributes::of_queue(state, &names.unwrap_or_default())}))
}

const DAY: u64 = 86_400;
