//! What a failed call means. What Cognito wrote goes nowhere: its messages may quote the request.

use aws_sdk_cognitoidentityprovider::{
    error::{ProvideErrorMetadata, SdkError},
    operation::RequestId as _,
};
use tracing::{error, warn};

use super::super::Failure;
use crate::{pool::PoolId, telemetry::chain};

/// Sorts a failed call and logs it: as an error, where an operator must act.
pub(super) fn sort<E: ProvideErrorMetadata>(pool: &PoolId, operation: &str, error: &SdkError<E>) -> Failure {
    let failure = failure(error);
    let code = error.code().unwrap_or_else(|| kind(error));
    let request = error.meta().request_id().unwrap_or_default();
    let cause = cause(error);
    macro_rules! log {
        ($level:ident) => {
            $level!(pool.id = %pool, aws.operation = operation, aws.code = code, aws.request_id = request, cause, "{failure}")
        };
    }
    match failure {
        Failure::Refused => log!(error),
        _ => log!(warn),
    }
    failure
}

fn failure<E: ProvideErrorMetadata>(error: &SdkError<E>) -> Failure {
    match (error, error.code()) {
        (
            SdkError::ServiceError(_),
            Some("TooManyRequestsException" | "ThrottlingException" | "LimitExceededException"),
        ) => Failure::Throttled,
        (SdkError::ServiceError(service), Some(_)) if service.raw().status().is_client_error() => {
            Failure::Refused
        }
        (SdkError::ConstructionFailure(_), _) => Failure::Refused,
        // Neither the network nor time: no credentials were found, or TLS does not trust the other end.
        (SdkError::DispatchFailure(cause), _) if !cause.is_io() && !cause.is_timeout() => Failure::Refused,
        _ => Failure::Unavailable,
    }
}

/// Tells why no request was sent; there is nothing of the request in it yet.
fn cause<E>(error: &SdkError<E>) -> Option<String> {
    match error {
        SdkError::DispatchFailure(cause) => cause.as_connector_error().map(|error| chain(error)),
        _ => None,
    }
}

fn kind<E>(error: &SdkError<E>) -> &'static str {
    match error {
        SdkError::ConstructionFailure(_) => "ConstructionFailure",
        SdkError::DispatchFailure(failure) if failure.is_timeout() => "ConnectTimeout",
        SdkError::DispatchFailure(_) => "DispatchFailure",
        SdkError::ResponseError(_) => "ResponseError",
        SdkError::TimeoutError(_) => "Timeout",
        _ => "Unhandled",
    }
}
