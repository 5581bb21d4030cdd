//! Every failure of a call, and its one translation into a gRPC status with details.

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
    changes::{OpenError, StreamEnd},
    memory::Exhausted,
    policy::Denied,
    proto::{self, ErrorReason},
    query::InvalidQuery,
    shared_cache::CallError,
    users::{Failure, InvalidationFailure, RevocationFailure},
};

/// Why a call failed. Its text is for the log; callers get a constant text instead.
#[expect(missing_docs, reason = "the texts say it")]
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum Error {
    #[error(transparent)]
    Denied(#[from] Denied),
    #[error("the message of the call is compressed by another method than gzip")]
    Compressed,
    #[error(transparent)]
    Failure(#[from] Failure),
    #[error("the reply to a batch is full")]
    BatchFull,
    #[error("a built-in service answered {0:?}")]
    Builtin(Code),
    #[error(transparent)]
    Invalid(#[from] InvalidQuery),
    #[error("the deadline passed")]
    DeadlineExceeded,
    #[error("limits.memory has no room for the call")]
    MemoryExhausted,
    #[error("the call panicked")]
    Panicked,
    #[error("revocation.max_bytes is full: the tokens are not revoked")]
    RevocationsFull,
    #[error("changes after the resume token may have been missed")]
    ResumeTokenExpired,
    #[error("the resume token is malformed, or belongs to another caller or filter")]
    ResumeTokenInvalid,
    #[error("the shared cache did not confirm the invalidation: {0}")]
    SharedCache(CallError),
    #[error(transparent)]
    Rejected(#[from] Rejected),
    #[error("the audit record of the call could not be written")]
    AuditUnavailable,
    #[error("the message of the call is larger than limits.message")]
    TooLarge,
    #[error("the method is not implemented by this version")]
    Unimplemented,
    #[error("the message of the call cannot be read")]
    Unreadable,
    #[error("the stream of changes is ended by its connection, the server, its age or a reload")]
    WatchEnded,
    #[error("no caller had watch = true at the start, so there are no streams of changes until the next one")]
    WatchOff,
    #[error("the caller or the process has reached its limit of streams of changes")]
    WatchLimit,
    #[error("the stream of changes is read too slowly")]
    WatchTooSlow,
}

impl Error {
    /// Returns the error in a response of health or reflection; none if it is a success.
    pub fn from_response<B>(response: &Response<B>) -> Option<Self> {
        let status = response.extensions().get::<Status>()?;
        Some(match status.code() {
            // tonic's codec: the message is too large, also once inflated, or is not protobuf.
            Code::OutOfRange | Code::ResourceExhausted => Self::TooLarge,
            Code::Internal => Self::Unreadable,
            Code::Unimplemented => Self::Unimplemented,
            code => Self::Builtin(code),
        })
    }

    /// Returns the gRPC code that the caller gets.
    pub fn code(&self) -> Code {
        self.code_and_text().0
    }

    /// Returns whether the same call by the same caller could succeed at another time.
    pub fn is_server_fault(&self) -> bool {
        use Code::{DeadlineExceeded, Internal, ResourceExhausted, Unavailable};
        matches!(self.code(), DeadlineExceeded | Internal | ResourceExhausted | Unavailable)
    }

    /// Returns the published reason, without its prefix.
    pub fn reason(&self) -> &'static str {
        self.error_reason().name()
    }

    /// Makes the status that the caller gets. A retry delay is also in the trailer
    /// `grpc-retry-pushback-ms` (gRFC A6), which is negative where no retry helps.
    pub fn into_status(self, request_id: &str) -> Status {
        self.into_status_for(request_id, Duration::MAX)
    }

    /// As [`into_status`](Self::into_status), for a client that waits for `left` more. If that is
    /// too short for a retry, the trailer says not to retry. Otherwise the client would wait, and
    /// report its own deadline in place of the reason.
    pub fn into_status_for(self, request_id: &str, left: Duration) -> Status {
        let (code, text) = self.code_and_text();
        let mut details = ErrorDetails::new();
        details.set_error_info(self.reason(), proto::DOMAIN, self.metadata());
        details.set_request_info(request_id, "");
        let mut metadata = MetadataMap::new();
        if let Some((field, problem)) = self.violation() {
            details.add_bad_request_violation(field, problem);
        }
        if let Some(wait) = self.retry_after() {
            // Jitter, or callers refused together would retry together.
            let wait = wait.mul_f64(1.0 + fastrand::f64()).as_millis();
            let wait = u64::try_from(wait).unwrap_or(u64::MAX);
            details.set_retry_info(Some(Duration::from_millis(wait)));
            let is_useless = Duration::from_millis(wait).saturating_add(SHORTEST_RETRY) > left;
            let pushback =
                if is_useless { MetadataValue::from_static("-1") } else { MetadataValue::from(wait) };
            metadata.insert("grpc-retry-pushback-ms", pushback);
        } else if self.code() == Code::Unavailable {
            // A negative pushback stops the retries of UNAVAILABLE (gRFC A6).
            metadata.insert("grpc-retry-pushback-ms", MetadataValue::from_static("-1"));
        }
        Status::with_error_details_and_metadata(code, text, details, metadata)
    }

    /// Makes the same status as a message, for one user of a batch.
    pub fn into_proto(self, request_id: &str) -> proto::Status {
        let status = self.into_status(request_id);
        // The details encode this message. If they cannot be decoded, code and text remain.
        proto::Status::decode(status.details()).unwrap_or_else(|_| proto::Status {
            code: status.code().into(),
            message: status.message().to_owned(),
            details: Vec::new(),
        })
    }

    fn error_reason(&self) -> ErrorReason {
        use ErrorReason as Reason;
        match self {
            Self::Denied(Denied::CredentialMissing | Denied::Proxied | Denied::UserTokenMissing)
            | Self::Rejected(Rejected::Missing) => Reason::TokenMissing,
            Self::Rejected(Rejected::Malformed) => Reason::TokenMalformed,
            Self::Rejected(Rejected::Invalid(_)) => Reason::TokenInvalid,
            Self::Rejected(Rejected::IdToken) => Reason::IdTokenRefused,
            Self::Denied(Denied::MachineTokenAlone) | Self::Rejected(Rejected::WrongType) => {
                Reason::TokenWrongType
            }
            Self::Rejected(Rejected::Revoked) => Reason::TokenRevoked,
            Self::Rejected(Rejected::Expired) => Reason::TokenExpired,
            Self::Rejected(Rejected::NotYetValid) => Reason::TokenNotYetValid,
            Self::Rejected(Rejected::KeysUnavailable) => Reason::KeysUnavailable,
            Self::Denied(Denied::CallerNotAllowed | Denied::NotAdmin | Denied::NotWatcher)
            | Self::WatchOff => Reason::CallerNotAllowed,
            Self::Denied(Denied::SubjectNotAllowed) => Reason::SubjectNotAllowed,
            Self::Denied(Denied::AttributesNotAllowed(_)) => Reason::AttributeNotAllowed,
            Self::Denied(Denied::ScopeMissing) => Reason::ScopeMissing,
            Self::Denied(Denied::UserDisabled) => Reason::UserDisabled,
            Self::Denied(Denied::SubjectAmbiguous) => Reason::SubjectAmbiguous,
            Self::Denied(Denied::AnswersExhausted(_)) => Reason::CallerRateLimited,
            Self::Denied(Denied::SubjectMissing) | Self::Invalid(InvalidQuery::Sub(_)) => {
                Reason::SubMalformed
            }
            Self::Denied(Denied::CallerNameUnknown | Denied::PoolMissing | Denied::PoolUnknown)
            | Self::Invalid(InvalidQuery::Field { .. })
            | Self::Unreadable => Reason::FieldInvalid,
            Self::Failure(Failure::NoSuchUser) => Reason::UserNotFound,
            Self::Failure(Failure::BudgetExhausted(_)) => Reason::BudgetExhausted,
            Self::Failure(Failure::Overloaded) | Self::BatchFull | Self::MemoryExhausted | Self::TooLarge => {
                Reason::Overloaded
            }
            Self::Failure(Failure::Throttled) => Reason::UpstreamThrottled,
            Self::Failure(
                Failure::Unreadable | Failure::AccessDenied | Failure::Unavailable | Failure::CircuitOpen(_),
            ) => Reason::UpstreamUnavailable,
            Self::SharedCache(_) => Reason::SharedCacheUnavailable,
            Self::RevocationsFull => Reason::RevocationsFull,
            Self::ResumeTokenExpired => Reason::ResumeTokenExpired,
            Self::ResumeTokenInvalid => Reason::ResumeTokenInvalid,
            Self::WatchEnded => Reason::WatchEnded,
            Self::WatchLimit => Reason::WatchLimit,
            Self::WatchTooSlow => Reason::WatchTooSlow,
            Self::DeadlineExceeded => Reason::Deadline,
            Self::Denied(Denied::OtherUserFound)
            | Self::Failure(Failure::Internal | Failure::WrongUser)
            | Self::Panicked
            | Self::AuditUnavailable => Reason::Internal,
            Self::Builtin(_) | Self::Compressed | Self::Unimplemented => Reason::Unspecified,
        }
    }

    /// Returns code and text of the reason, or something more precise.
    fn code_and_text(&self) -> (Code, &'static str) {
        let (code, text) = (self.error_reason().code(), self.error_reason().text());
        match self {
            Self::BatchFull => (code, "the reply has no room for this user; request fewer users at once"),
            Self::Builtin(code) => (*code, code.description()),
            Self::Compressed => (code, "the message is compressed by another method than gzip"),
            Self::Failure(Failure::Unreadable) => {
                (code, "Cognito's answer about this user cannot be read, and a retry would not help")
            }
            Self::TooLarge => (code, "the message is too large; request less at once"),
            Self::Unreadable => (code, "the message is not one message of the method"),
            Self::WatchOff => (code, "no caller was allowed to watch when this service started; restart it"),
            _ => (code, text),
        }
    }

    fn metadata(&self) -> HashMap<String, String> {
        let Self::Denied(Denied::AttributesNotAllowed(names)) = self else { return HashMap::new() };
        // Whole names, up to 1 KiB: clients limit the size of trailers.
        let mut bytes = 0;
        let listed = names.iter().map(String::as_str).take_while(|name| {
            bytes += name.len() + 1;
            bytes <= MAX_LIST_BYTES
        });
        HashMap::from([("attributes".to_owned(), listed.collect::<Vec<_>>().join(","))])
    }

    fn violation(&self) -> Option<(&str, &'static str)> {
        Some(match self {
            Self::Invalid(InvalidQuery::Field { field, problem }) => (field.as_str(), *problem),
            Self::Invalid(InvalidQuery::Sub(field)) => (field.as_str(), SUB_FORM),
            Self::Denied(Denied::CallerNameUnknown) => ("caller", "is not the name of a configured caller"),
            Self::Denied(Denied::SubjectMissing) => ("sub", "is required without a user's access token"),
            Self::Denied(Denied::PoolMissing) => {
                ("user_pool_id", "is required: several pools are configured")
            }
            Self::Denied(Denied::PoolUnknown) => ("user_pool_id", "is not a configured pool"),
            _ => return None,
        })
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Failure(Failure::BudgetExhausted(wait) | Failure::CircuitOpen(wait))
            | Self::Denied(Denied::AnswersExhausted(wait)) => Some(*wait),
            // The rest of the server, or another replica, is there.
            Self::WatchEnded => Some(MOVE_AFTER),
            // The same request would exceed the size, or get the same answer of Cognito, again.
            Self::BatchFull | Self::TooLarge | Self::Failure(Failure::Unreadable) => None,
            _ => self.error_reason().is_retryable().then_some(RETRY_AFTER),
        }
    }
}

impl From<InvalidationFailure> for Error {
    fn from(failure: InvalidationFailure) -> Self {
        match failure {
            InvalidationFailure::SharedCache { error, .. } => Self::SharedCache(error),
            InvalidationFailure::Panicked => Self::Panicked,
        }
    }
}

impl From<RevocationFailure> for Error {
    fn from(failure: RevocationFailure) -> Self {
        match failure {
            RevocationFailure::Full => Self::RevocationsFull,
            RevocationFailure::SharedCache(error) => Self::SharedCache(error),
            RevocationFailure::Panicked => Self::Panicked,
        }
    }
}

impl From<OpenError> for Error {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Draining => Self::WatchEnded,
            OpenError::NotReady => Self::SharedCache(CallError::Unavailable),
            OpenError::TokenExpired => Self::ResumeTokenExpired,
            OpenError::TokenInvalid => Self::ResumeTokenInvalid,
            OpenError::TooMany => Self::WatchLimit,
        }
    }
}

impl From<StreamEnd> for Error {
    fn from(end: StreamEnd) -> Self {
        match end {
            StreamEnd::Lost => Self::ResumeTokenExpired,
            StreamEnd::Moved => Self::WatchEnded,
            StreamEnd::TooSlow => Self::WatchTooSlow,
        }
    }
}

impl From<Exhausted> for Error {
    fn from(Exhausted: Exhausted) -> Self {
        Self::MemoryExhausted
    }
}

// In less time the retry of a call that Cognito swallows would end without a reason.
const SHORTEST_RETRY: Duration = Duration::from_millis(600);
const MAX_LIST_BYTES: usize = 1024;
const SUB_FORM: &str = "must be 1 to 128 characters of [A-Za-z0-9_-]";
// Longer than the cool-down of a shared failure, shorter than a person waits.
const RETRY_AFTER: Duration = Duration::from_secs(1);
const MOVE_AFTER: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests;
