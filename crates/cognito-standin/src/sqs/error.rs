//! The errors of SQS, with its names and messages.

use serde_json::{Value, json};

use super::super::http_response::HttpResponse;

#[derive(Debug)]
pub(super) enum SqsError {
    QueueDoesNotExist,
    ReceiptHandleIsInvalid,
    InvalidParameter(String),
    EmptyBatchRequest,
    TooManyEntries,
    UnsupportedOperation,
}

impl SqsError {
    pub(super) fn response(&self) -> HttpResponse {
        let (name, query_name, message) = self.names_and_message();
        respond(400, &json!({"__type": format!("com.amazonaws.sqs#{name}"), "message": message}))
            // Clients that know SQS's former protocol read the error's name here.
            .header("x-amzn-query-error", format!("{query_name};Sender"))
    }

    /// The error of one entry of a batch.
    pub(super) fn entry(&self) -> Value {
        let (_, query_name, message) = self.names_and_message();
        json!({"SenderFault": true, "Code": query_name, "Message": message})
    }

    fn names_and_message(&self) -> (&str, &str, &str) {
        match self {
            Self::QueueDoesNotExist => (
                "QueueDoesNotExist",
                "AWS.SimpleQueueService.NonExistentQueue",
                "The specified queue does not exist.",
            ),
            Self::ReceiptHandleIsInvalid => {
                ("ReceiptHandleIsInvalid", "ReceiptHandleIsInvalid", "The input receipt handle is invalid.")
            }
            Self::InvalidParameter(message) => {
                ("InvalidParameterValueException", "InvalidParameterValue", message)
            }
            Self::EmptyBatchRequest => (
                "EmptyBatchRequest",
                "AWS.SimpleQueueService.EmptyBatchRequest",
                "There should be at least one entry in the request.",
            ),
            Self::TooManyEntries => (
                "TooManyEntriesInBatchRequest",
                "AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
                "Maximum number of entries per request are 10.",
            ),
            Self::UnsupportedOperation => (
                "UnsupportedOperation",
                "AWS.SimpleQueueService.UnsupportedOperation",
                "the stand-in does not emulate this operation",
            ),
        }
    }
}

/// A response in AWS JSON 1.0.
pub(super) fn respond(status: u16, output: &Value) -> HttpResponse {
    HttpResponse::aws_json_1_0(status, output)
}
