//! The published reasons: what a failed call says, and what its client does about it.

use tonic::Code;
use tonic_types::ErrorInfo;

use crate::{DOMAIN, ErrorReason};

impl ErrorReason {
    /// Returns why a call, or one user of a batch, failed. Returns `None` for another service's
    /// reason, and for one newer than this client.
    pub fn of(info: &ErrorInfo) -> Option<Self> {
        let name = format!("ERROR_REASON_{}", info.reason);
        Self::from_str_name(&name).filter(|_| info.domain == DOMAIN)
    }

    /// Returns the name in `google.rpc.ErrorInfo`, such as `TOKEN_EXPIRED`.
    pub fn name(self) -> &'static str {
        let name = self.as_str_name();
        name.strip_prefix("ERROR_REASON_").unwrap_or(name)
    }
}

macro_rules! table {
    ($($reason:ident: $code:ident, $text:literal;)*) => {
        impl ErrorReason {
            /// Returns the gRPC code of the status.
            pub fn code(self) -> Code {
                match self {
                    $(Self::$reason => Code::$code,)*
                }
            }

            /// Returns the message of the status.
            pub fn text(self) -> &'static str {
                match self {
                    $(Self::$reason => $text,)*
                }
            }
        }
    };
}

table! {
    Unspecified: Unimplemented, "the method is not implemented by this version";
    TokenMissing: Unauthenticated, "an access token is required in authorization: Bearer";
    TokenMalformed: Unauthenticated, "the credential is not one bearer token in compact form";
    TokenInvalid: Unauthenticated, "the token is not accepted";
    IdTokenRefused: Unauthenticated, "this is an ID token; send the access token";
    TokenWrongType: Unauthenticated, "a user's access token is required";
    TokenExpired: Unauthenticated, "the token has expired";
    TokenNotYetValid: Unauthenticated, "the token is not valid yet";
    KeysUnavailable: Unavailable, "the token cannot be verified at present; retry";
    CallerNotAllowed: PermissionDenied, "no rule allows this caller to call the method";
    SubjectNotAllowed: PermissionDenied, "the caller may read only the user whose access token it presents";
    AttributeNotAllowed: PermissionDenied, "the caller may not read a requested attribute";
    ScopeMissing: PermissionDenied, "the token lacks the scope that the caller's rule requires";
    UserDisabled: PermissionDenied, "the user is disabled";
    SubMalformed: InvalidArgument, "sub must be given as 1 to 128 characters of [A-Za-z0-9_-]";
    SubjectAmbiguous: InvalidArgument, "the tokens, sub and user_pool_id do not name the same user";
    FieldInvalid: InvalidArgument, "a field of the request is not valid";
    UserNotFound: NotFound, "there is no such user";
    BudgetExhausted: ResourceExhausted, "the limit on calls to Cognito is reached; retry";
    Overloaded: ResourceExhausted, "this service is overloaded; retry";
    UpstreamThrottled: Unavailable, "Cognito throttles this service; retry";
    UpstreamUnavailable: Unavailable, "Cognito is unavailable; retry";
    Deadline: DeadlineExceeded, "the deadline passed";
    Internal: Internal, "internal error";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_read_in_its_domain_only() {
        let table = [
            ("TOKEN_EXPIRED", DOMAIN, Some(ErrorReason::TokenExpired)),
            ("TOKEN_EXPIRED", "example.com", None),
            ("NEWER", DOMAIN, None),
            ("", DOMAIN, None),
        ];
        for (reason, domain, expected) in table {
            assert_eq!(ErrorReason::of(&ErrorInfo::new(reason, domain, [])), expected, "{domain} {reason}");
        }
    }
}
