//! Amazon SQS in the AWS JSON protocol, with one standard queue.

mod attributes;
mod batch;
mod error;
mod input;
mod md5;
mod operations;

use serde_json::Value;

use self::error::respond;
use super::{http_response::HttpResponse, state::State};

/// Executes one call. `ReceiveMessage` waits for messages as long as its input says.
pub(super) async fn execute(state: &State, operation: &str, input: &Value) -> HttpResponse {
    let result = match operation {
        "ReceiveMessage" => operations::receive(state, input).await,
        _ => operations::execute(state, operation, input),
    };
    result.map_or_else(|error| error.response(), |output| respond(200, &output))
}
