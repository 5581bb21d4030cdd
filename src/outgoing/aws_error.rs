//! What failed in a call of the AWS SDK. An error of AWS itself has a code.

use aws_smithy_runtime_api::client::result::{ConnectorError, SdkError};

/// Returns a name for an error that has no code of AWS.
pub fn sdk_error_kind<E, R>(error: &SdkError<E, R>) -> &'static str {
    match error {
        SdkError::ConstructionFailure(_) => "ConstructionFailure",
        SdkError::DispatchFailure(failure) if failure.is_timeout() => "ConnectTimeout",
        SdkError::DispatchFailure(_) => "DispatchFailure",
        SdkError::ResponseError(_) => "ResponseError",
        SdkError::TimeoutError(_) => "Timeout",
        _ => "Unhandled",
    }
}

/// Returns why no request was sent; none if one was. Such an error cannot quote the request.
pub fn unsent_cause<E, R>(error: &SdkError<E, R>) -> Option<&ConnectorError> {
    match error {
        SdkError::DispatchFailure(cause) => cause.as_connector_error(),
        _ => None,
    }
}
