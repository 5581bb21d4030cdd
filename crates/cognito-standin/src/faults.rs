//! The faults that a test can inject, and the guard that holds calls.

use std::time::Duration;

use tokio::sync::watch;

use super::http_response::HttpResponse;

/// A fault of an operation, instead of or before its response.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Responds after this time.
    Delay(Duration),
    /// 400 `TooManyRequestsException`.
    Throttle,
    /// 500 `InternalErrorException`.
    ServerError,
    /// 400 `AccessDeniedException`.
    AccessDenied,
    /// Resets the connection without a response.
    Reset,
    /// Sends half of this response's body, then resets the connection.
    ResetInBody(HttpResponse),
    /// Never responds. The call ends when the client closes the connection.
    Hang,
    /// Sends this response instead.
    Respond(HttpResponse),
    /// Responds 200 with one space per interval and never ends the body.
    EndlessBody(Duration),
    /// Responds for the user with this username, whichever user the call names.
    WrongUser(String),
}

/// Keeps the calls of one operation waiting until it is released or dropped.
#[derive(Debug)]
pub struct Hold {
    pub(super) _release_on_drop: watch::Sender<()>,
}

impl Hold {
    /// Releases the waiting calls and all later ones.
    pub fn release(self) {}
}
