//! The table of published reasons: the gRPC code and the text of each.

use tonic::Code;

use crate::proto::ErrorReason;

/// Returns the gRPC code and the constant text of a published reason.
pub fn published(reason: ErrorReason) -> (Code, &'static str) {
    use Code::{
        DeadlineExceeded, Internal, InvalidArgument, NotFound, PermissionDenied, ResourceExhausted,
        Unauthenticated, Unavailable, Unimplemented,
    };
    use ErrorReason as Reason;

    match reason {
        Reason::Unspecified => (Unimplemented, "the method is not implemented by this version"),
        Reason::TokenMissing => (Unauthenticated, "an access token is required in authorization: Bearer"),
        Reason::TokenMalformed => (Unauthenticated, "the credential is not one bearer token in compact form"),
        Reason::TokenInvalid => (Unauthenticated, "the token is not accepted"),
        Reason::IdTokenRefused => (Unauthenticated, "this is an ID token; send the access token"),
        Reason::TokenWrongType => (Unauthenticated, "a user's access token is required"),
        Reason::TokenExpired => (Unauthenticated, "the token has expired"),
        Reason::TokenNotYetValid => (Unauthenticated, "the token is not valid yet"),
        Reason::KeysUnavailable => (Unavailable, "the token cannot be verified at present; retry"),
        Reason::CallerNotAllowed => (PermissionDenied, "no rule allows this caller to call the method"),
        Reason::SubjectNotAllowed => {
            (PermissionDenied, "the caller may read only the user whose access token it presents")
        }
        Reason::AttributeNotAllowed => (PermissionDenied, "the caller may not read a requested attribute"),
        Reason::ScopeMissing => {
            (PermissionDenied, "the token lacks the scope that the caller's rule requires")
        }
        Reason::UserDisabled => (PermissionDenied, "the user is disabled"),
        Reason::SubjectAmbiguous => {
            (InvalidArgument, "the tokens, sub and user_pool_id do not name the same user")
        }
        Reason::SubMalformed => {
            (InvalidArgument, "sub must be given as 1 to 128 characters of [A-Za-z0-9_-]")
        }
        Reason::FieldInvalid => (InvalidArgument, "a field of the request is not valid"),
        Reason::UserNotFound => (NotFound, "there is no such user"),
        Reason::BudgetExhausted => (ResourceExhausted, "the limit on calls to Cognito is reached; retry"),
        Reason::Overloaded => (ResourceExhausted, "this service is overloaded; retry"),
        Reason::UpstreamThrottled => (Unavailable, "Cognito throttles this service; retry"),
        Reason::UpstreamUnavailable => (Unavailable, "Cognito is unavailable; retry"),
        Reason::Deadline => (DeadlineExceeded, "the deadline passed"),
        Reason::Internal => (Internal, "internal error"),
    }
}
