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

use super::{cable::Plug, failure::Failure, reply::Reply, script::Call};

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
    Cut(Reply),
    /// No answer ever; ends when the client gives up.
    Hang,
    /// This answer instead.
    Garbage(Reply),
    /// 200, then a space each interval without end.
    Drip(Duration),
    /// The true answer for the user with this username, whoever was asked for.
    Lie(String),
}

/// Keeps the calls of one operation waiting until it is released or dropped.
#[derive(Debug)]
pub struct Hold {
    pub(super) _gate: watch::Sender<()>,
}

impl Hold {
    /// Lets the waiting calls, and all that come later, go on.
    pub fn release(self) {}
}

/// What a call is to be answered with, once its hold and its fault have had their way.
pub(super) enum Verdict {
    /// Answer truly. The call is kept until that is done.
    Answer(Call),
    /// Answer with this.
    Instead(Response),
}

/// Waits for the hold on `call`, then lets its fault happen.
pub(super) async fn meet(mut call: Call, plug: &Plug) -> Verdict {
    call.pass().await;
    let reply = match call.fault() {
        None | Some(Fault::Lie(_)) => return Verdict::Answer(call),
        Some(Fault::Delay(time)) => {
            tokio::time::sleep(*time).await;
            return Verdict::Answer(call);
        }
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::Reset) => {
            plug.pull();
            return Verdict::Instead(StatusCode::OK.into_response());
        }
        Some(Fault::Cut(reply)) => return Verdict::Instead(cut(reply.clone(), plug.clone(), call)),
        Some(Fault::Drip(interval)) => return Verdict::Instead(drip(*interval, call)),
        Some(Fault::Garbage(reply)) => reply.clone(),
        Some(Fault::Throttle) => Failure::Throttled.reply(),
        Some(Fault::ServerError) => Failure::Internal.reply(),
        Some(Fault::AccessDenied) => Failure::AccessDenied.reply(),
    };
    Verdict::Instead(reply.into_response())
}

/// The input that leads to the liar's record: it names that user in place of the one asked for.
pub(super) fn twist(input: &mut Value, username: &str) {
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
fn cut(reply: Reply, plug: Plug, call: Call) -> Response {
    let (head, rest) = reply.halves();
    let head = stream::once(async { Ok::<_, Infallible>(head) });
    let rest = stream::once(async move {
        // While nothing comes the head is sent, which a plug that is pulled would keep back.
        tokio::time::sleep(Duration::from_millis(1)).await;
        plug.pull();
        drop(call);
        Ok(rest)
    });
    Body::from_stream(head.chain(rest)).into_response()
}

fn drip(interval: Duration, call: Call) -> Response {
    let spaces = stream::unfold(call, move |call| async move {
        tokio::time::sleep(interval).await;
        Some((Ok::<_, Infallible>(Bytes::from_static(b" ")), call))
    });
    Body::from_stream(spaces).into_response()
}
