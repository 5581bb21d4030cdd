//! Why a credential is refused.

use thiserror::Error;

/// Why a credential was refused. The text is for the log; callers get a constant one.
#[expect(missing_docs, reason = "the texts say it")]
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Rejected {
    #[error("the token has expired")]
    Expired,
    #[error("an ID token was presented")]
    IdToken,
    // Callers do not learn the reason.
    #[error("the token is not accepted: {0}")]
    Invalid(InvalidReason),
    #[error("the pool's signing keys are unavailable")]
    KeysUnavailable,
    #[error("the credential is not one compact RS256 token")]
    Malformed,
    #[error("authorization holds no bearer token")]
    Missing,
    #[error("the token is not valid yet")]
    NotYetValid,
    #[error("the token was revoked")]
    Revoked,
    #[error("the token is of the wrong type")]
    WrongType,
}

/// Why a well-formed token is not accepted.
#[expect(missing_docs, reason = "the texts say it")]
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum InvalidReason {
    #[error("its algorithm is not RS256")]
    Algorithm,
    #[error("its client_id is not among the pool's app_clients")]
    Client,
    #[error("its header has a parameter that is not accepted")]
    Header,
    #[error("its iss is not that of a configured pool")]
    Issuer,
    #[error("the pool has no key with its kid")]
    Key,
    #[error("the pool's key with its kid cannot be used: it is not for RS256, weak or ambiguous")]
    UnusableKey,
    #[error("its exp is missing or too long after its iat, or a user's token has no iat")]
    Lifetime,
    #[error("its signature was not made with the pool's key")]
    Signature,
    #[error("its sub or username is missing or malformed")]
    Subject,
}
