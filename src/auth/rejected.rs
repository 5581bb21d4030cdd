//! Why a credential is refused.

use thiserror::Error;

/// Why a credential was refused. The text is for the log; callers get a constant one.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Rejected {
    /// The token is past its `exp`.
    #[error("the token has expired")]
    Expired,
    /// It is an ID token.
    #[error("an ID token was presented")]
    IdToken,
    /// The token is not accepted. Callers do not learn the reason.
    #[error("the token is not accepted: {0}")]
    Invalid(InvalidReason),
    /// There are no keys to verify it with.
    #[error("the pool's signing keys are unavailable")]
    KeysUnavailable,
    /// It is not a compact RS256 JWS of the expected shape.
    #[error("the credential is not one compact RS256 token")]
    Malformed,
    /// `authorization` holds no bearer token.
    #[error("authorization holds no bearer token")]
    Missing,
    /// Its `nbf` or `iat` lies ahead.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// It is not an access token, or not a user's where a user's is needed.
    #[error("the token is of the wrong type")]
    WrongType,
}

/// Why a well-formed token is not accepted.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum InvalidReason {
    /// Its algorithm is not RS256.
    #[error("its algorithm is not RS256")]
    Algorithm,
    /// Its `client_id` is not among the pool's `app_clients`.
    #[error("its client_id is not among the pool's app_clients")]
    Client,
    /// Its `cognito:groups` is not a list of at most 100 names.
    #[error("its cognito:groups is not a list of groups")]
    Groups,
    /// Its header has a parameter that changes how it must be verified.
    #[error("its header has a parameter that is not accepted")]
    Header,
    /// Its `iss` is not that of a configured pool.
    #[error("its iss is not that of a configured pool")]
    Issuer,
    /// The pool publishes no key with its `kid`.
    #[error("the pool has no key with its kid")]
    Key,
    /// Its `exp` is missing or too far ahead.
    #[error("its exp is missing or more than a day after its iat")]
    Lifetime,
    /// Its signature was not made with that key.
    #[error("its signature was not made with the pool's key")]
    Signature,
    /// Its `sub` or `username` is missing or malformed.
    #[error("its sub or username is missing or malformed")]
    Subject,
}
