//! One call as it is observed: its request id, the time it may take, and the one line that says how it ended.

use std::{panic::AssertUnwindSafe, time::Duration};

use futures_util::FutureExt as _;
use tokio::time::{Instant, timeout};
use tonic::{
    Code, Response, Status,
    metadata::{MetadataMap, MetadataValue},
};
use tracing::{debug, error, info, warn};
use uuid::Uuid;

use crate::error::Error;

/// A call under way. One that is dropped before its end was cancelled by its caller.
#[derive(Debug)]
pub(super) struct Call {
    method: &'static str,
    request_id: String,
    grpc_timeout: Option<Duration>,
    begun: Instant,
    ended: bool,
}

impl Call {
    /// Begins to observe a call by the name it takes from `x-request-id`, or by a new UUID where that is missing or
    /// not 1 to 64 characters of `[A-Za-z0-9._-]`.
    pub(super) fn begin(method: &'static str, metadata: &MetadataMap) -> Self {
        let text = |key| metadata.get(key).and_then(|value| value.to_str().ok());
        let request_id = text(REQUEST_ID).filter(|id| is_request_id(id));
        Self {
            method,
            request_id: request_id.map_or_else(|| Uuid::now_v7().to_string(), ToOwned::to_owned),
            grpc_timeout: text("grpc-timeout").and_then(grpc_timeout),
            begun: Instant::now(),
            ended: false,
        }
    }

    /// Runs the call within the lesser of the caller's limit and our own. The caller's is cut by a tenth, at most 20 ms,
    /// for at its full length tonic answers `CANCELLED` before we can answer `DEADLINE_EXCEEDED`. A call that cannot be
    /// answered in time is not begun: what it would have Cognito asked for, nobody would see.
    pub(super) async fn bounded<T>(
        &self,
        own: Duration,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let limit = self.limit(own);
        if limit < SHORTEST {
            return Err(Error::OutOfTime);
        }
        // A call owns nothing that others share and could find broken: the parts they share lock for moments only.
        let call = AssertUnwindSafe(call).catch_unwind();
        match timeout(limit, call).await {
            Ok(outcome) => outcome.unwrap_or(Err(Error::Panicked)),
            Err(_) => Err(Error::OutOfTime),
        }
    }

    fn limit(&self, own: Duration) -> Duration {
        let callers = self.grpc_timeout.map(|limit| limit - (limit / 10).min(Duration::from_millis(20)));
        callers.map_or(own, |limit| limit.min(own))
    }

    /// Ends the call: logs how, once, and makes what the caller gets, with the request id on it.
    pub(super) fn end<T>(mut self, outcome: Result<T, Error>) -> Result<Response<T>, Status> {
        self.ended = true;
        match outcome {
            Ok(message) => {
                self.log_success();
                let mut response = Response::new(message);
                self.mark(response.metadata_mut());
                Ok(response)
            }
            Err(error) => {
                self.log_failure(&error);
                let mut status = error.into_status(&self.request_id);
                self.mark(status.metadata_mut());
                Err(status)
            }
        }
    }

    fn mark(&self, metadata: &mut MetadataMap) {
        if let Ok(id) = MetadataValue::try_from(&self.request_id) {
            metadata.insert(REQUEST_ID, id);
        }
    }

    fn log_success(&self) {
        let Self { method, request_id, .. } = self;
        debug!(
            rpc.method = method,
            rpc.code = "OK",
            request.id = request_id,
            duration_ms = self.milliseconds(),
            "call answered"
        );
    }

    fn log_failure(&self, cause: &Error) {
        let Self { method, request_id, .. } = self;
        let (code, reason, duration_ms) = (cause.code(), cause.reason(), self.milliseconds());
        macro_rules! log {
            ($level:ident) => {
                $level!(rpc.method = method, rpc.code = ?code, reason, request.id = request_id, duration_ms, %cause, "call failed")
            };
        }
        match code {
            Code::Internal => log!(error),
            // Anybody can cause it with a made-up key name; where keys are really missing, their task says so.
            _ if matches!(cause, Error::Rejected(_)) => log!(info),
            Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted => log!(warn),
            _ => log!(info),
        }
    }

    fn log_cancellation(&self) {
        let Self { method, request_id, .. } = self;
        info!(
            rpc.method = method,
            rpc.code = "Cancelled",
            request.id = request_id,
            duration_ms = self.milliseconds(),
            "call cancelled"
        );
    }

    fn milliseconds(&self) -> f64 {
        self.begun.elapsed().as_secs_f64() * 1000.0
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.ended {
            self.log_cancellation();
        }
    }
}

fn is_request_id(id: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=64).contains(&id.len()) && id.bytes().all(allowed)
}

/// Reads a `grpc-timeout`: at most 8 digits and a unit (gRPC over HTTP/2, "Requests"); none if it is no such thing.
fn grpc_timeout(text: &str) -> Option<Duration> {
    let unit = text.chars().last()?;
    let digits = text.strip_suffix(unit)?;
    if !(1..=8).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    match unit {
        'H' => Some(Duration::from_secs(number * 3600)),
        'M' => Some(Duration::from_secs(number * 60)),
        'S' => Some(Duration::from_secs(number)),
        'm' => Some(Duration::from_millis(number)),
        'u' => Some(Duration::from_micros(number)),
        'n' => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

const SHORTEST: Duration = Duration::from_millis(1);
const REQUEST_ID: &str = "x-request-id";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_deadline_shortens_ours() {
        let table = [
            (None, 3000),
            (Some("1S"), 980),
            (Some("100m"), 90),
            (Some("10M"), 3000),
            (Some("99999999H"), 3000),
            (Some("0n"), 0),
            (Some(""), 3000),
            (Some("1"), 3000),
            (Some("S"), 3000),
            (Some("-1S"), 3000),
            (Some("123456789S"), 3000),
            (Some("1s"), 3000),
            (Some("1é"), 3000),
        ];
        for (header, expected) in table {
            let mut metadata = MetadataMap::new();
            if let Some(value) = header.and_then(|header| MetadataValue::try_from(header).ok()) {
                metadata.insert("grpc-timeout", value);
            }
            let limit = Call::begin("test", &metadata).limit(Duration::from_secs(3));
            assert_eq!(limit, Duration::from_millis(expected), "{header:?}");
        }
    }

    #[tokio::test]
    async fn a_call_without_time_is_not_begun() {
        let mut metadata = MetadataMap::new();
        metadata.insert("grpc-timeout", "1n".parse().unwrap());
        let call = Call::begin("test", &metadata);
        let outcome: Result<(), Error> =
            call.bounded(Duration::from_secs(3), async { panic!("begun") }).await;
        assert_eq!(outcome, Err(Error::OutOfTime));
    }

    #[tokio::test]
    async fn a_call_that_panics_is_an_internal_error() {
        let call = Call::begin("test", &MetadataMap::new());
        let outcome: Result<(), Error> =
            call.bounded(Duration::from_secs(3), async { panic!("a bug") }).await;
        assert_eq!(outcome.map_err(|error| error.code()), Err(Code::Internal));
    }

    #[test]
    fn a_request_id_is_taken_or_made() {
        let begin = |id: &str| {
            let mut metadata = MetadataMap::new();
            metadata.insert(REQUEST_ID, id.parse().unwrap());
            Call::begin("test", &metadata).request_id.clone()
        };
        for good in ["a", "0198c5d6-1.X_y", &"x".repeat(64)] {
            assert_eq!(begin(good), good);
        }
        for bad in ["", "a b", "a\"b", "a,b", &"x".repeat(65)] {
            assert!(Uuid::parse_str(&begin(bad)).is_ok(), "{bad:?}");
        }
    }
}
