//! What can go wrong on purpose.

use std::{convert::Infallible, time::Duration};

use axum::{
    body::{Body, Bytes},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{api_error::ApiError, fault_plan::Call, http_response::HttpResponse, resettable::ResetHandle};

/// A fault that an operation shows instead of, or before, its answer.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Answers after this time.
    Delay(Duration),
    /// 400 `TooManyRequestsException`.
    Throttle,
    /// 500 `InternalErrorException`.
    ServerError,
    /// 400 `AccessDeniedException`.
    AccessDenied,
    /// The connection is reset without an answer.
    Reset,
    /// The connection is reset within the body of this answer.
    ResetInBody(HttpResponse),
    /// No answer ever; ends when the client gives up.
    Hang,
    /// This answer instead.
    Respond(HttpResponse),
    /// 200, then a space each interval without end.
    EndlessBody(Duration),
    /// The true answer for the user with this username, whoever was asked for.
    WrongUser(String),
}

/// Keeps the calls of one operation waiting until it is released or dropped.
#[derive(Debug)]
pub struct Hold {
    pub(super) _release_on_drop: watch::Sender<()>,
}

impl Hold {
    /// Lets the waiting calls, and all that come later, go on.
    pub fn release(self) {}
}

/// What a call is to be answered with, once its hold and its fault have had their way.
pub(super) enum FaultOutcome {
    /// Answer truly. The call is kept until that is done.
    Proceed(Call),
    /// Answer with this.
    Respond(Response),
}

/// Waits for the hold on `call`, then lets its fault happen.
pub(super) async fn apply_fault(mut call: Call, reset_handle: &ResetHandle) -> FaultOutcome {
    call.wait_for_release().await;
    let reply = match call.fault() {
        None | Some(Fault::WrongUser(_)) => return FaultOutcome::Proceed(call),
        Some(Fault::Delay(time)) => {
            tokio::time::sleep(*time).await;
            return FaultOutcome::Proceed(call);
        }
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::Reset) => {
            reset_handle.reset();
            return FaultOutcome::Respond(StatusCode::OK.into_response());
        }
        Some(Fault::ResetInBody(reply)) => {
            return FaultOutcome::Respond(reset_in_body(reply.clone(), reset_handle.clone(), call));
        }
        Some(Fault::EndlessBody(interval)) => return FaultOutcome::Respond(endless_body(*interval, call)),
        Some(Fault::Respond(reply)) => reply.clone(),
        Some(Fault::Throttle) => ApiError::Throttled.response(),
        Some(Fault::ServerError) => ApiError::Internal.response(),
        Some(Fault::AccessDenied) => ApiError::AccessDenied.response(),
    };
    FaultOutcome::Respond(reply.into_response())
}

/// The input that leads to the liar's record: it names that user in place of the one asked for.
pub(super) fn redirect(input: &mut Value, username: &str) {
    if let Some(fields) = input.as_object_mut() {
        if fields.contains_key("Username") {
            fields.insert("Username".to_owned(), json!(username));
        }
        if fields.contains_key("Filter") {
            let quoted = username.replace('\\', r"\\").replace('"', r#"\""#);
            fields.insert("Filter".to_owned(), json!(format!(r#"username = "{quoted}""#)));
        }
    }
}

/// The first half of a body, and a reset in place of the rest.
fn reset_in_body(reply: HttpResponse, reset_handle: ResetHandle, call: Call) -> Response {
    let (head, rest) = reply.split_body();
    let head = stream::once(async { Ok::<_, Infallible>(head) });
    let rest = stream::once(async move {
        // While nothing comes the head is sent, which a reset_handle that is pulled would keep back.
        tokio::time::sleep(Duration::from_millis(1)).await;
        reset_handle.reset();
        drop(call);
        Ok(rest)
    });
    Body::from_stream(head.chain(rest)).into_response()
}

fn endless_body(interval: Duration, call: Call) -> Response {
    let spaces = stream::unfold(call, move |call| async move {
        tokio::time::sleep(interval).await;
        Some((Ok::<_, Infallible>(Bytes::from_static(b" ")), call))
    });
    Body::from_stream(spaces).into_response()
}
