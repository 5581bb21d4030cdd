//! The errors of the API, with Cognito's names and messages.

use std::borrow::Cow;

use serde_json::json;

use super::http_response::HttpResponse;

#[derive(Debug)]
pub(super) enum ApiError {
    UserNotFound,
    UsernameExists,
    ResourceNotFound(String),
    InvalidParameter(String),
    NotAuthorized(&'static str),
    NotConfirmed,
    ResetRequired,
    Serialization(String),
    UnknownOperation,
    Throttled,
    AccessDenied,
    UnrecognizedClient,
    Internal,
    CodeMismatch,
    /// An error that only CloudTrail has: its name and message.
    CloudTrail(&'static str, &'static str),
}

impl ApiError {
    pub(super) const DISABLED: Self = Self::NotAuthorized("User is disabled.");
    pub(super) const WRONG_PASSWORD: Self = Self::NotAuthorized("Incorrect username or password.");

    pub(super) fn immutable_sub() -> Self {
        Self::InvalidParameter("Cannot modify the non-mutable attribute sub".to_owned())
    }

    pub(super) fn response(&self) -> HttpResponse {
        let status = if matches!(self, Self::Internal) { 500 } else { 400 };
        let (code, message) = self.code_and_message();
        HttpResponse::aws_json(status, &json!({"__type": code, "message": message}))
    }

    pub(super) fn code_and_message(&self) -> (&'static str, Cow<'_, str>) {
        match self {
            Self::UserNotFound => ("UserNotFoundException", "User does not exist.".into()),
            Self::UsernameExists => ("UsernameExistsException", "User account already exists".into()),
            Self::ResourceNotFound(message) => ("ResourceNotFoundException", message.into()),
            Self::InvalidParameter(message) => ("InvalidParameterException", message.into()),
            Self::NotAuthorized(message) => ("NotAuthorizedException", (*message).into()),
            Self::NotConfirmed => ("UserNotConfirmedException", "User is not confirmed.".into()),
            Self::ResetRequired => {
                ("PasswordResetRequiredException", "Password reset required for the user".into())
            }
            Self::Serialization(message) => ("SerializationException", message.into()),
            Self::UnknownOperation => {
                ("UnknownOperationException", "the stand-in does not emulate this operation".into())
            }
            Self::Throttled => ("TooManyRequestsException", "Rate exceeded".into()),
            Self::AccessDenied => ("AccessDeniedException", ACCESS_DENIED.into()),
            Self::UnrecognizedClient => (
                "UnrecognizedClientException",
                "The security token included in the request is invalid.".into(),
            ),
            Self::Internal => ("InternalErrorException", "Internal server error".into()),
            Self::CodeMismatch => {
                ("CodeMismatchException", "Invalid verification code provided, please try again.".into())
            }
            Self::CloudTrail(name, message) => (name, (*message).into()),
        }
    }
}

const ACCESS_DENIED: &str =
    "User: arn:aws:iam::123456789012:user/sandbox is not authorized to perform this operation";
