//! Classifies failed calls. Cognito's message is dropped, because it may quote the request.

use std::{
    error::Error,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use aws_sdk_cognitoidentityprovider::{
    error::{ProvideErrorMetadata, SdkError},
    operation::RequestId as _,
};
use tokio::time::Instant;
use tracing::{debug, error, warn};

use super::{super::Failure, flaw::Flaw};
use crate::{
    outgoing::{sdk_error_kind, unsent_cause},
    pool::PoolId,
    telemetry::{error_chain, metrics::upstream::CallOutcome},
};

/// Limits errors that an operator must act on to one log line a minute.
#[derive(Debug, Default)]
pub(super) struct Alarm(Mutex<Option<Instant>>);

impl Alarm {
    fn is_due(&self) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = last.is_none_or(|at| at.elapsed() >= MINUTE);
        if is_due {
            *last = Some(Instant::now());
        }
        is_due
    }
}

/// Classifies a failed call and logs it, as an error if an operator must act.
pub(super) fn classify<E: ProvideErrorMetadata>(
    pool: &PoolId,
    operation: &str,
    error: &SdkError<E>,
    alarm: &Alarm,
) -> Failure {
    let failure = failure(error);
    let code = error.code().unwrap_or_else(|| sdk_error_kind(error));
    let request = error.meta().request_id().unwrap_or_default();
    let status = error.raw_response().map(|response| response.status().as_u16());
    let cause = unsent_cause(error).map(|error| error_chain(error));
    macro_rules! log {
        ($level:ident) => {
            $level!(pool.id = %pool, aws.operation = operation, aws.code = code, aws.request_id = request, http.status = status, cause, "{failure}")
        };
    }
    match failure {
        Failure::AccessDenied if alarm.is_due() => log!(error),
        Failure::AccessDenied => log!(debug),
        _ => log!(warn),
    }
    failure
}

/// Returns why [`BodyReader`](super::body::BodyReader) refused an answer, if it did.
pub(super) fn flaw<E: Error + 'static>(error: &SdkError<E>) -> Option<Flaw> {
    error.source()?.downcast_ref().cloned()
}

/// Returns whether AWS refused the credentials themselves, which others might replace (Cognito API
/// reference, "Common Errors").
pub(super) fn is_of_credentials<E: ProvideErrorMetadata>(error: &SdkError<E>) -> bool {
    const CODES: [&str; 6] = [
        "ExpiredTokenException",
        "IncompleteSignature",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "MissingAuthenticationToken",
        "UnrecognizedClientException",
    ];
    error.code().is_some_and(|code| CODES.contains(&code))
}

/// Returns whether Cognito responded, so that it has counted the call.
pub(super) fn has_response<T, E>(sent: &Result<T, SdkError<E>>) -> bool {
    matches!(sent, Ok(_) | Err(SdkError::ServiceError(_) | SdkError::ResponseError(_)))
}

/// Returns the outcome under which a failed call is counted.
pub(super) fn outcome<E: ProvideErrorMetadata + Error + 'static>(error: &SdkError<E>) -> CallOutcome {
    match (failure(error), error) {
        _ if flaw(error).is_some() => CallOutcome::Answered,
        _ if error.code() == Some("UserNotFoundException") => CallOutcome::NotFound,
        (Failure::AccessDenied, _) => CallOutcome::Denied,
        (Failure::Throttled, _) => CallOutcome::Throttled,
        (_, SdkError::TimeoutError(_)) => CallOutcome::TimedOut,
        (_, SdkError::DispatchFailure(cause)) if cause.is_timeout() => CallOutcome::TimedOut,
        _ => CallOutcome::Failed,
    }
}

/// Returns what a failed call means to those who wait for it.
pub(super) fn failure<E: ProvideErrorMetadata>(error: &SdkError<E>) -> Failure {
    let code = error.code().unwrap_or_default();
    let is_one_of = |words: &[&str]| words.iter().any(|word| code.contains(word));
    // Proxies, and Cognito's own edge, send a status without a code.
    match (error, error.raw_response().map_or(0, |response| response.status().as_u16())) {
        (_, 429) => Failure::Throttled,
        _ if is_one_of(&THROTTLING) => Failure::Throttled,
        // A truncated 400 may have been any error.
        (_, 400) if code.is_empty() => Failure::Unavailable,
        (_, 408) => Failure::Unavailable,
        (_, 400..500) if !is_one_of(&TRANSIENT) => Failure::AccessDenied,
        (SdkError::ConstructionFailure(_), _) => Failure::AccessDenied,
        // Neither I/O nor a timeout: no credentials were found, or TLS does not trust the peer.
        (SdkError::DispatchFailure(cause), _) if !cause.is_io() && !cause.is_timeout() => {
            Failure::AccessDenied
        }
        _ => Failure::Unavailable,
    }
}

const MINUTE: Duration = Duration::from_secs(60);
// The codes of AWS's own retry rules (SDK reference, "Retry behavior"), at any status.
const THROTTLING: [&str; 4] = ["Throttl", "TooManyRequests", "LimitExceeded", "SlowDown"];
const TRANSIENT: [&str; 4] = ["InternalError", "InternalFailure", "RequestTimeout", "ServiceUnavailable"];

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_first_error_is_logged_at_once_and_then_one_a_minute() {
        let alarm = Alarm::default();
        let mut logged = Vec::new();
        for second in 0..150 {
            if alarm.is_due() {
                logged.push(second);
            }
            advance(Duration::from_secs(1)).await;
        }
        assert_eq!(logged, [0, 60, 120]);
    }
}
