//! How a fault changes the response to a call.

use std::{convert::Infallible, future, time::Duration};

use axum::{
    body::{Body, Bytes},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use futures_util::{StreamExt as _, stream};
use serde_json::Value;
use tokio::time::sleep;

use super::{
    api_error::ApiError, call::Call, faults::Fault, http_response::HttpResponse, json::insert,
    resettable::ResetHandle,
};

/// Waits for the hold on `call`, then applies its fault. Returns the call if it is to be executed,
/// or the response that the fault sends instead.
pub(super) async fn apply_fault(mut call: Call, reset_handle: &ResetHandle) -> Result<Call, Response> {
    call.wait_for_release().await;
    let response = match call.fault() {
        None | Some(Fault::WrongUser(_)) => return Ok(call),
        Some(Fault::Delay(time)) => {
            sleep(*time).await;
            return Ok(call);
        }
        Some(Fault::Hang) => future::pending().await,
        Some(Fault::Reset) => {
            reset_handle.reset();
            return Err(StatusCode::OK.into_response());
        }
        Some(Fault::ResetInBody(response)) => {
            return Err(reset_in_body(response.clone(), reset_handle.clone(), call));
        }
        Some(Fault::EndlessBody(interval)) => return Err(endless_body(*interval, call)),
        Some(Fault::Respond(response)) => response.clone(),
        Some(Fault::Throttle) => ApiError::Throttled.response(),
        Some(Fault::ServerError) => ApiError::Internal.response(),
        Some(Fault::AccessDenied) => ApiError::AccessDenied.response(),
    };
    Err(response.into_response())
}

/// Makes `input` name the user of the call's [`Fault::WrongUser`], if it has one.
pub(super) fn redirect(call: &Call, input: &mut Value) {
    let Some(Fault::WrongUser(username)) = call.fault() else { return };
    if input.get("Username").is_some() {
        insert(input, "Username", username.as_str());
    }
    if input.get("Filter").is_some() {
        let quoted = username.replace('\\', r"\\").replace('"', r#"\""#);
        insert(input, "Filter", format!(r#"username = "{quoted}""#));
    }
}

fn reset_in_body(response: HttpResponse, reset_handle: ResetHandle, call: Call) -> Response {
    let (head, rest) = response.split_body();
    let head = stream::once(async { Ok::<_, Infallible>(head) });
    let rest = stream::once(async move {
        // hyper flushes the first half during this pause. After the reset it could not write it.
        sleep(Duration::from_millis(1)).await;
        reset_handle.reset();
        drop(call);
        Ok(rest)
    });
    Body::from_stream(head.chain(rest)).into_response()
}

fn endless_body(interval: Duration, call: Call) -> Response {
    let spaces = stream::unfold(call, move |call| async move {
        sleep(interval).await;
        Some((Ok::<_, Infallible>(Bytes::from_static(b" ")), call))
    });
    Body::from_stream(spaces).into_response()
}
