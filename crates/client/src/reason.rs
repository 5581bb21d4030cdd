//! The published reasons: what a failed call says, and what its client does about it.
//! `docs/errors.md` has the same table, with the words.

use std::fmt::{self, Display, Formatter};

use tonic::Code;
use tonic_types::ErrorInfo;

use crate::{DOMAIN, ErrorReason};

/// What to do with the session of the user whose token was presented.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Session {
    /// The session is not the problem. Every reason without the code UNAUTHENTICATED keeps it.
    Keep,
    /// Refresh the tokens once and call again. If Cognito refuses the refresh, or the new token is
    /// refused for such a reason too, the session has ended.
    RefreshOrEnd,
}

/// Who can fix the cause of an error.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FixedBy {
    /// The app that the user is signed in to: it refreshes its tokens, or signs the user in.
    App,
    /// The developer of the calling backend.
    Developer,
    /// Nobody: it is Cognito's answer about the user.
    Nobody,
    /// The operator of this service, unless it passes.
    Operator,
}

impl Display for Session {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Keep => "keep",
            Self::RefreshOrEnd => "refresh, else end",
        })
    }
}

impl Display for FixedBy {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::App => "app",
            Self::Developer => "developer",
            Self::Nobody => "nobody",
            Self::Operator => "operator",
        })
    }
}

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
    ($($reason:ident: $code:ident, $http:literal, $session:ident, $retry:literal, $fixed_by:ident, $text:literal;)*) => {
        impl ErrorReason {
            /// Returns the gRPC code of the status.
            pub fn code(self) -> Code {
                match self {
                    $(Self::$reason => Code::$code,)*
                }
            }

            /// Returns the HTTP status with which a backend answers its own caller.
            pub fn http_status(self) -> u16 {
                match self {
                    $(Self::$reason => $http,)*
                }
            }

            /// Returns what to do with the user's session.
            pub fn session(self) -> Session {
                match self {
                    $(Self::$reason => Session::$session,)*
                }
            }

            /// Returns whether the same call can succeed after the delay in `google.rpc.RetryInfo`.
            pub fn is_retryable(self) -> bool {
                match self {
                    $(Self::$reason => $retry,)*
                }
            }

            /// Returns who can fix the cause.
            pub fn fixed_by(self) -> FixedBy {
                match self {
                    $(Self::$reason => FixedBy::$fixed_by,)*
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

// Only UNAUTHENTICATED may end a session, so nothing that the server or Cognito causes has it.
// 401 makes an app refresh its tokens, so exactly the reasons that ask for a refresh have it.
table! {
    // reason: gRPC code, HTTP status, session, whether a retry helps, who can fix it, message
    Unspecified: Unimplemented, 500, Keep, false, Developer, "the method is not implemented by this version";
    TokenMissing: Unauthenticated, 401, RefreshOrEnd, false, App, "an access token is required in authorization: Bearer";
    TokenMalformed: Unauthenticated, 401, RefreshOrEnd, false, Developer, "the credential is not one bearer token in compact form";
    TokenInvalid: Unauthenticated, 401, RefreshOrEnd, false, Operator, "the token is not accepted";
    IdTokenRefused: Unauthenticated, 400, Keep, false, Developer, "this is an ID token; send the access token";
    TokenWrongType: Unauthenticated, 400, Keep, false, Developer, "a user's access token is required";
    TokenExpired: Unauthenticated, 401, RefreshOrEnd, false, App, "the token has expired";
    TokenNotYetValid: Unauthenticated, 503, Keep, false, Operator, "the token is not valid yet";
    TokenRevoked: Unauthenticated, 401, RefreshOrEnd, false, App, "the token was revoked";
    KeysUnavailable: Unavailable, 503, Keep, true, Operator, "the token cannot be verified at present; retry";
    CallerNotAllowed: PermissionDenied, 500, Keep, false, Operator, "no rule allows this caller to call the method";
    SubjectNotAllowed: PermissionDenied, 500, Keep, false, Developer, "the caller may read only the user whose access token it presents";
    AttributeNotAllowed: PermissionDenied, 500, Keep, false, Operator, "the caller may not read a requested attribute";
    ScopeMissing: PermissionDenied, 403, Keep, false, Developer, "the token lacks the scope that the caller's rule requires";
    UserDisabled: PermissionDenied, 403, Keep, false, Nobody, "the user is disabled";
    SubMalformed: InvalidArgument, 400, Keep, false, Developer, "sub must be given as 1 to 128 characters of [A-Za-z0-9_-]";
    SubjectAmbiguous: InvalidArgument, 400, Keep, false, Developer, "the tokens, sub and user_pool_id do not name the same user";
    FieldInvalid: InvalidArgument, 400, Keep, false, Developer, "a field of the request is not valid";
    UserNotFound: NotFound, 404, Keep, false, Nobody, "there is no such user";
    BudgetExhausted: ResourceExhausted, 503, Keep, true, Operator, "the limit on calls to Cognito is reached; retry";
    Overloaded: ResourceExhausted, 503, Keep, true, Operator, "this service is overloaded; retry";
    UpstreamThrottled: Unavailable, 503, Keep, true, Operator, "Cognito throttles this service; retry";
    UpstreamUnavailable: Unavailable, 503, Keep, true, Operator, "Cognito is unavailable; retry";
    Deadline: DeadlineExceeded, 504, Keep, false, Developer, "the deadline passed";
    Internal: Internal, 500, Keep, false, Operator, "internal error";
    SharedCacheUnavailable: Unavailable, 503, Keep, true, Operator, "this replica did it, but the shared cache did not confirm it for the others; repeat the call";
    RevocationsFull: ResourceExhausted, 503, Keep, true, Operator, "there is no room for the revocation, so the tokens are accepted; retry";
    ResumeTokenInvalid: InvalidArgument, 500, Keep, false, Developer, "the resume token is not one of this caller and request";
    ResumeTokenExpired: OutOfRange, 500, Keep, false, Nobody, "changes may have been missed; forget all copies and watch without a token";
    WatchTooSlow: ResourceExhausted, 500, Keep, true, Developer, "the stream was read too slowly; continue with the last resume token";
    WatchLimit: ResourceExhausted, 503, Keep, true, Operator, "the limit of open streams is reached; retry";
    WatchEnded: Unavailable, 503, Keep, true, Nobody, "the stream ended; continue with the last resume token";
    CallerRateLimited: ResourceExhausted, 503, Keep, true, Developer, "the caller exceeds its answers per second; retry";
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

    #[test]
    fn only_unauthenticated_may_end_a_session() {
        for reason in reasons() {
            let refreshes = reason.session() == Session::RefreshOrEnd;
            assert!(!refreshes || reason.code() == Code::Unauthenticated, "{reason:?}");
            assert_eq!(refreshes, reason.http_status() == 401, "{reason:?}");
            let retried = [Code::Unavailable, Code::ResourceExhausted].contains(&reason.code());
            assert_eq!(reason.is_retryable(), retried, "{reason:?}");
        }
    }

    #[test]
    fn the_page_of_errors_has_this_table() {
        let row = |reason: ErrorReason| {
            let (name, anchor) = (reason.name(), reason.name().to_lowercase());
            let code = format!("{:?}", reason.code());
            let snake = |c: char| c.is_uppercase().then_some('_').into_iter().chain(c.to_uppercase());
            let code: String = code.chars().flat_map(snake).collect();
            let (code, http, session) =
                (code.trim_start_matches('_'), reason.http_status(), reason.session());
            let retry = if reason.is_retryable() { "after the delay" } else { "no" };
            let fixed_by = reason.fixed_by();
            format!(
                "| [{name}](troubleshooting.md#{anchor}) | {code} | {http} | {session} | {retry} | {fixed_by} |\n"
            )
        };
        let page = include_str!("../../../docs/errors.md");
        let rows: String = reasons().skip(1).map(row).collect();
        let rule = "| --- | --- | --- | --- | --- | --- |\n";
        assert!(page.contains(&format!("{rule}{rows}\n")), "docs/errors.md needs:\n{rows}");
    }

    fn reasons() -> impl Iterator<Item = ErrorReason> {
        (0..).map_while(|number| ErrorReason::try_from(number).ok())
    }
}
