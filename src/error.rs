//! All that can go wrong for a caller, and its one translation into a status with details.

use std::{collections::HashMap, time::Duration};

use http::Response;
use prost::Message as _;
use thiserror::Error;
use tonic::{
    Code, Status,
    metadata::{MetadataMap, MetadataValue},
};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::{
    auth::Rejected,
    policy::Denied,
    proto::{self, ErrorReason},
    query::InvalidQuery,
    users::Failure,
};

/// Why a call failed; the text is for the log, callers get a constant.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum Error {
    /// The policy refuses.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The message is compressed.
    #[error("the message of the call is compressed")]
    Compressed,
    /// No user was found.
    #[error(transparent)]
    Failure(#[from] Failure),
    /// The answer to a batch has no room for this user.
    #[error("the answer to a batch is full")]
    BatchFull,
    /// A service that is not ours, such as health, answered so.
    #[error("a service that is not ours answered {0:?}")]
    Builtin(Code),
    /// The question is not valid.
    #[error(transparent)]
    Invalid(#[from] InvalidQuery),
    /// The caller's deadline or our own passed.
    #[error("the deadline passed")]
    DeadlineExceeded,
    /// The call panicked: a fault of ours.
    #[error("the call panicked")]
    Panicked,
    /// A credential was refused.
    #[error(transparent)]
    Rejected(#[from] Rejected),
    /// The record of the call could not be written, without which nothing is to leave.
    #[error("the audit record of the call could not be written")]
    AuditUnavailable,
    /// This version does not offer the call.
    #[error("the call is not offered by this version")]
    Unimplemented,
    /// The message is too large, or is not one message of the method's.
    #[error("the message of the call cannot be read")]
    Unreadable,
}

impl Error {
    /// Returns what failed in a response of a service that is not ours; none if nothing did.
    pub fn of<B>(response: &Response<B>) -> Option<Self> {
        let status = response.extensions().get::<Status>()?;
        Some(match status.code() {
            // What tonic's codec says of a message that is too large, and of one that is no protobuf.
            Code::OutOfRange | Code::Internal => Self::Unreadable,
            Code::Unimplemented => Self::Unimplemented,
            code => Self::Builtin(code),
        })
    }

    /// Returns the gRPC code that callers see.
    pub fn code(&self) -> Code {
        self.outward().0
    }

    /// Returns true if and only if the same call, of the same caller, could be answered at another time.
    pub fn is_server_fault(&self) -> bool {
        use Code::{DeadlineExceeded, Internal, ResourceExhausted, Unavailable};
        matches!(self.code(), DeadlineExceeded | Internal | ResourceExhausted | Unavailable)
    }

    /// Returns the published reason, without its prefix.
    pub fn reason(&self) -> &'static str {
        let name = self.outward().1.as_str_name();
        name.strip_prefix("ERROR_REASON_").unwrap_or(name)
    }

    /// Makes the status that callers see: code, constant text, `ErrorInfo` and `RequestInfo`, and where they help
    /// `BadRequest` and `RetryInfo`, of one to two times the wait, with its trailer `grpc-retry-pushback-ms` (gRFC A6).
    pub fn into_status(self, request_id: &str) -> Status {
        let (code, _, text) = self.outward();
        let mut details = ErrorDetails::new();
        details.set_error_info(self.reason(), proto::DOMAIN, self.metadata());
        details.set_request_info(request_id, "");
        let mut metadata = MetadataMap::new();
        if let Some((field, problem)) = self.violation() {
            details.add_bad_request_violation(field, problem);
        }
        if let Some(wait) = self.retry_after() {
            // Spread, for whoever is refused at one moment would otherwise come back at one moment.
            let wait = wait.mul_f64(1.0 + fastrand::f64()).as_millis();
            let wait = u64::try_from(wait).unwrap_or(u64::MAX);
            details.set_retry_info(Some(Duration::from_millis(wait)));
            metadata.insert("grpc-retry-pushback-ms", MetadataValue::from(wait));
        }
        if self == Self::Compressed {
            // gRPC's compression.md: who is refused for it is told what is read.
            metadata.insert("grpc-accept-encoding", MetadataValue::from_static("identity"));
        }
        Status::with_error_details_and_metadata(code, text, details, metadata)
    }

    /// Makes the same as a message, for one of several users.
    pub fn into_proto(self, request_id: &str) -> proto::Status {
        let status = self.into_status(request_id);
        // Its details are such a message, which only holds less if it could not be read.
        proto::Status::decode(status.details()).unwrap_or_else(|_| proto::Status {
            code: status.code().into(),
            message: status.message().to_owned(),
            details: Vec::new(),
        })
    }

    fn outward(&self) -> (Code, ErrorReason, &'static str) {
        match self {
            Self::Denied(denied) => denial(denied),
            Self::Failure(failure) => failed(*failure),
            Self::Compressed => {
                (Code::Unimplemented, ErrorReason::Unspecified, "this service reads no compressed messages")
            }
            Self::Builtin(code) => (*code, ErrorReason::Unspecified, code.description()),
            Self::BatchFull => (
                Code::ResourceExhausted,
                ErrorReason::Overloaded,
                "the answer has no room for this user; ask about fewer at once",
            ),
            Self::Invalid(InvalidQuery::Sub | InvalidQuery::SubOf(_)) => {
                (Code::InvalidArgument, ErrorReason::SubMalformed, SUB_MALFORMED)
            }
            Self::Invalid(InvalidQuery::Field { .. }) => {
                (Code::InvalidArgument, ErrorReason::FieldInvalid, "a field of the request is not valid")
            }
            Self::DeadlineExceeded => (Code::DeadlineExceeded, ErrorReason::Deadline, "the deadline passed"),
            Self::Panicked | Self::AuditUnavailable => failed(Failure::Internal),
            Self::Rejected(rejected) => rejection(*rejected),
            Self::Unimplemented => {
                (Code::Unimplemented, ErrorReason::Unspecified, "the call is not offered by this version")
            }
            Self::Unreadable => {
                let text = "the message is larger than this service reads, or is not one of the method's";
                (Code::InvalidArgument, ErrorReason::FieldInvalid, text)
            }
        }
    }

    fn metadata(&self) -> HashMap<String, String> {
        match self {
            Self::Denied(Denied::AttributesNotAllowed(names)) => {
                HashMap::from([("attributes".to_owned(), listed(names))])
            }
            _ => HashMap::new(),
        }
    }

    fn violation(&self) -> Option<(String, &'static str)> {
        if let Self::Invalid(InvalidQuery::SubOf(n)) = self {
            return Some((format!("subs[{n}]"), SUB_FORM));
        }
        let (field, problem) = match self {
            Self::Invalid(InvalidQuery::Field { field, problem }) => (field.as_str(), *problem),
            Self::Invalid(InvalidQuery::Sub) => ("sub", SUB_FORM),
            Self::Denied(Denied::CallerNameUnknown) => ("caller", "names no configured caller"),
            Self::Denied(Denied::SubjectMissing) => ("sub", "must be given where no access token is"),
            Self::Denied(Denied::PoolMissing) => {
                ("user_pool_id", "must be given: several pools are configured")
            }
            Self::Denied(Denied::PoolUnknown) => ("user_pool_id", "names no configured pool"),
            _ => return None,
        };
        Some((field.to_owned(), problem))
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Failure(Failure::BudgetExhausted(wait)) => Some(*wait),
            // It helps to ask about fewer, at once.
            Self::BatchFull => None,
            _ => matches!(self.code(), Code::Unavailable | Code::ResourceExhausted).then_some(RETRY_AFTER),
        }
    }
}

/// Lists whole names up to 1 KiB: what is in the trailers counts against a client's limit of them.
fn listed(names: &[String]) -> String {
    let mut list = String::new();
    for name in names {
        if list.len() + name.len() >= MAX_LIST_BYTES {
            break;
        }
        if !list.is_empty() {
            list.push(',');
        }
        list.push_str(name);
    }
    list
}

fn denial(denied: &Denied) -> (Code, ErrorReason, &'static str) {
    match denied {
        Denied::SubjectAmbiguous => (
            Code::InvalidArgument,
            ErrorReason::SubjectAmbiguous,
            "the tokens, sub and user_pool_id given do not name the same user",
        ),
        Denied::CredentialMissing => rejection(Rejected::Missing),
        Denied::AttributesNotAllowed(_) => (
            Code::PermissionDenied,
            ErrorReason::AttributeNotAllowed,
            "the caller may not read a requested attribute",
        ),
        Denied::CallerNotAllowed => {
            (Code::PermissionDenied, ErrorReason::CallerNotAllowed, "no rule names this caller")
        }
        Denied::NotAdmin => (
            Code::PermissionDenied,
            ErrorReason::CallerNotAllowed,
            "no rule makes this caller an administrator",
        ),
        Denied::UserDisabled => (Code::PermissionDenied, ErrorReason::UserDisabled, "the user is disabled"),
        Denied::SubjectMissing => (Code::InvalidArgument, ErrorReason::SubMalformed, SUB_MALFORMED),
        Denied::CallerNameUnknown | Denied::PoolMissing | Denied::PoolUnknown => {
            (Code::InvalidArgument, ErrorReason::FieldInvalid, "a field of the request is not valid")
        }
        Denied::ScopeMissing => (
            Code::PermissionDenied,
            ErrorReason::ScopeMissing,
            "the token lacks the scope that this caller must have",
        ),
        Denied::SubjectNotAllowed => (
            Code::PermissionDenied,
            ErrorReason::SubjectNotAllowed,
            "the caller may read only the user whose access token it presents",
        ),
    }
}

fn failed(failure: Failure) -> (Code, ErrorReason, &'static str) {
    match failure {
        Failure::Internal | Failure::WrongUser => (Code::Internal, ErrorReason::Internal, "internal error"),
        Failure::NoSuchUser => (Code::NotFound, ErrorReason::UserNotFound, "there is no such user"),
        Failure::BudgetExhausted(_) => {
            let text = "this service may not ask Cognito more at present; retry";
            (Code::ResourceExhausted, ErrorReason::BudgetExhausted, text)
        }
        Failure::Overloaded => {
            (Code::ResourceExhausted, ErrorReason::Overloaded, "this service has too much to do; retry")
        }
        Failure::Throttled => {
            (Code::Unavailable, ErrorReason::UpstreamThrottled, "Cognito throttles this service; retry")
        }
        Failure::Unreadable | Failure::AccessDenied | Failure::Unavailable => {
            (Code::Unavailable, ErrorReason::UpstreamUnavailable, "Cognito cannot be asked at present; retry")
        }
    }
}

fn rejection(rejected: Rejected) -> (Code, ErrorReason, &'static str) {
    let (reason, text) = match rejected {
        Rejected::Expired => (ErrorReason::TokenExpired, "the token has expired"),
        Rejected::IdToken => {
            (ErrorReason::IdTokenRefused, "an ID token was presented; send the access token")
        }
        Rejected::Invalid(_) => (ErrorReason::TokenInvalid, "the token is not accepted"),
        Rejected::KeysUnavailable => {
            let text = "the token cannot be verified at present; retry";
            return (Code::Unavailable, ErrorReason::KeysUnavailable, text);
        }
        Rejected::Malformed => {
            (ErrorReason::TokenMalformed, "the credential is not one bearer token in compact form")
        }
        Rejected::Missing => {
            (ErrorReason::TokenMissing, "an access token is needed in authorization: Bearer")
        }
        Rejected::NotYetValid => (ErrorReason::TokenNotYetValid, "the token is not valid yet"),
        Rejected::WrongType => (ErrorReason::TokenWrongType, "a user's access token is needed"),
    };
    (Code::Unauthenticated, reason, text)
}

const MAX_LIST_BYTES: usize = 1024;
const SUB_FORM: &str = "must be 1 to 128 characters of [A-Za-z0-9_-]";
const SUB_MALFORMED: &str = "sub must be given as 1 to 128 characters of [A-Za-z0-9_-]";
// Long enough for the cool-down of a shared cause, short enough for a person who waits.
const RETRY_AFTER: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
