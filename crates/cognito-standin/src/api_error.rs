//! The errors of the API, with Cognito's names and words.

use serde_json::json;
use thiserror::Error;

use super::http_response::HttpResponse;

#[derive(Debug, Error)]
pub(super) enum ApiError {
    #[error("User does not exist.")]
    UserNotFound,
    #[error("User account already exists")]
    UsernameExists,
    #[error("{0}")]
    ResourceNotFound(String),
    #[error("{0}")]
    InvalidParameter(String),
    #[error("{0}")]
    NotAuthorized(&'static str),
    #[error("User is not confirmed.")]
    NotConfirmed,
    #[error("Password reset required for the user")]
    ResetRequired,
    #[error("{0}")]
    Serialization(String),
    #[error("the stand-in has no such operation")]
    UnknownOperation,
    #[error("Rate exceeded")]
    Throttled,
    #[error("User: arn:aws:iam::123456789012:user/sandbox is not authorized to perform this operation")]
    AccessDenied,
    #[error("Internal server error")]
    Internal,
}

impl ApiError {
    pub(super) fn response(&self) -> HttpResponse {
        let status = if matches!(self, Self::Internal) { 500 } else { 400 };
        HttpResponse::aws_json(status, &json!({"__type": self.code(), "message": self.to_string()}))
    }

    fn code(&self) -> &'static str {
        match self {
            Self::UserNotFound => "UserNotFoundException",
            Self::UsernameExists => "UsernameExistsException",
            Self::ResourceNotFound(_) => "ResourceNotFoundException",
            Self::InvalidParameter(_) => "InvalidParameterException",
            Self::NotAuthorized(_) => "NotAuthorizedException",
            Self::NotConfirmed => "UserNotConfirmedException",
            Self::ResetRequired => "PasswordResetRequiredException",
            Self::Serialization(_) => "SerializationException",
            Self::UnknownOperation => "UnknownOperationException",
            Self::Throttled => "TooManyRequestsException",
            Self::AccessDenied => "AccessDeniedException",
            Self::Internal => "InternalErrorException",
        }
    }
}
