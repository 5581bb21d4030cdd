//! The queue, over the socket.

use serde_json::{Value, json};

use super::{super::StandIn, call_service, standin};

fn sqs(standin: &StandIn, operation: &str, mut input: Value) -> (u16, Value) {
    if input.get("QueueUrl").is_none() {
        input["QueueUrl"] = json!(standin.queue_url());
    }
    call_service(standin, "AmazonSQS", operation, &input)
}

fn ok(standin: &StandIn, operation: &str, input: Value) -> Value {
    let (status, output) = sqs(standin, operation, input);
    assert_eq!(status, 200, "{operation}: {output}");
    output
}

pub(super) fn receive(standin: &StandIn, visibility_timeout: u32) -> Vec<Value> {
    let input = json!({
        "MaxNumberOfMessages": 10,
        "VisibilityTimeout": visibility_timeout,
        "MessageSystemAttributeNames": ["ApproximateReceiveCount", "SentTimestamp"],
    });
    match ok(standin, "ReceiveMessage", input).get_mut("Messages").map(Value::take) {
        Some(Value::Array(messages)) => messages,
        _ => Vec::new(),
    }
}

#[test]
fn messages_are_sent_received_and_deleted() {
    let standin = standin();
    standin.send_message("first");
    let entries = json!([{"Id": "a", "MessageBody": "second"}, {"Id": "b", "MessageBody": "later", "DelaySeconds": 900}]);
    let sent = ok(&standin, "SendMessageBatch", json!({"Entries": entries}));
    assert_eq!((sent["Successful"][0]["Id"].as_str(), &sent["Failed"]), (Some("a"), &json!([])));
    let received = receive(&standin, 0);
    assert_eq!(
        (received.len(), &received[0]["Body"], &received[1]["Body"]),
        (2, &json!("first"), &json!("second"))
    );
    assert_eq!(received[0]["MD5OfBody"], "8b04d5e3775d298e78455efc5ca404d5");
    let again = receive(&standin, 30);
    assert_eq!(again[0]["Attributes"]["ApproximateReceiveCount"], "2");
    assert!(
        again[0]["Attributes"]["SentTimestamp"].is_string()
            && again[0]["Attributes"].get("SenderId").is_none()
    );
    let entries =
        json!([{"Id": "a", "ReceiptHandle": again[0]["ReceiptHandle"]}, {"Id": "b", "ReceiptHandle": "x"}]);
    let deleted = ok(&standin, "DeleteMessageBatch", json!({"Entries": entries}));
    assert_eq!(deleted["Successful"], json!([{"Id": "a"}]));
    assert_eq!(
        (&deleted["Failed"][0]["Id"], &deleted["Failed"][0]["Code"]),
        (&json!("b"), &json!("ReceiptHandleIsInvalid"))
    );
    assert_eq!(standin.messages(), 2);
}

#[test]
fn attributes_count_the_messages() {
    let standin = standin();
    standin.send_message("a");
    standin.send_message("b");
    let receipt = ok(&standin, "ReceiveMessage", json!({}))["Messages"][0]["ReceiptHandle"].clone();
    let counts = |names: Value| {
        ok(&standin, "GetQueueAttributes", json!({"AttributeNames": names}))["Attributes"].clone()
    };
    let names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"];
    assert_eq!(counts(json!(names)), json!({names[0]: "1", names[1]: "1"}));
    ok(&standin, "ChangeMessageVisibility", json!({"ReceiptHandle": receipt, "VisibilityTimeout": 0}));
    assert_eq!(counts(json!(names)), json!({names[0]: "2", names[1]: "0"}));
    assert_eq!(counts(json!(["All"]))["QueueArn"], "arn:aws:sqs:eu-west-1:123456789012:user-changes");
    ok(&standin, "DeleteMessage", json!({"ReceiptHandle": receipt}));
    assert_eq!(counts(json!(names))[names[0]], "1");
    ok(&standin, "PurgeQueue", json!({}));
    assert_eq!(standin.messages(), 0);
}

#[test]
fn the_queue_has_one_name_and_errors_have_sqss_names() {
    let standin = standin();
    let url = ok(&standin, "GetQueueUrl", json!({"QueueName": "user-changes"}))["QueueUrl"].clone();
    assert_eq!(
        (&url, ok(&standin, "ListQueues", json!({}))["QueueUrls"][0].clone()),
        (&json!(standin.queue_url()), url.clone())
    );
    let many = vec![json!({"Id": "a", "ReceiptHandle": "a#1"}); 11];
    for (operation, input, error) in [
        ("GetQueueUrl", json!({"QueueName": "other"}), "QueueDoesNotExist"),
        ("ReceiveMessage", json!({"QueueUrl": "http://127.0.0.1/123456789012/other"}), "QueueDoesNotExist"),
        ("ReceiveMessage", json!({"MaxNumberOfMessages": 11}), "InvalidParameterValueException"),
        ("ReceiveMessage", json!({"WaitTimeSeconds": 21}), "InvalidParameterValueException"),
        ("SendMessage", json!({}), "InvalidParameterValueException"),
        ("DeleteMessage", json!({"ReceiptHandle": "x"}), "ReceiptHandleIsInvalid"),
        ("DeleteMessageBatch", json!({"Entries": []}), "EmptyBatchRequest"),
        ("DeleteMessageBatch", json!({"Entries": many}), "TooManyEntriesInBatchRequest"),
        ("CreateQueue", json!({"QueueName": "other"}), "UnsupportedOperation"),
    ] {
        let (status, output) = sqs(&standin, operation, input);
        assert_eq!(
            (status, output["__type"].as_str()),
            (400, Some(format!("com.amazonaws.sqs#{error}").as_str())),
            "{operation}"
        );
    }
}
