//! Why a credential is refused.

use thiserror::Error;

/// Why a credential was refused; the text is for the log, callers get a constant.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Rejected {
    /// The token is past its `exp`.
    #[error("the token has expired")]
    Expired,
    /// It is an ID token.
    #[error("an ID token was presented")]
    IdToken,
    /// It is not accepted. Callers are not told what for.
    #[error("the token is not accepted: {0}")]
    Invalid(InvalidReason),
    /// We cannot know: there are no keys to verify with.
    #[error("the pool's signing keys cannot be had")]
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
    /// It is no access token, or a machine's where a user's is needed.
    #[error("the token is of the wrong type")]
    WrongType,
}

/// What is wrong with a token that is well formed.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum InvalidReason {
    /// Its header asks for another algorithm than RS256.
    #[error("its algorithm is not RS256")]
    Algorithm,
    /// Its `client_id` is not among the pool's `app_clients`.
    #[error("its client_id is not among the pool's app_clients")]
    Client,
    /// Its `cognito:groups` are none: no list of at most 100 names.
    #[error("its cognito:groups are no list of groups")]
    Groups,
    /// Its header asks for something that must be followed or refused.
    #[error("its header has a parameter that is not taken")]
    Header,
    /// Its `iss` is not that of a configured pool.
    #[error("its iss is not that of a configured pool")]
    Issuer,
    /// The pool publishes no key of its `kid`.
    #[error("the pool has no key of its kid")]
    Key,
    /// Its `exp` is missing or too far ahead.
    #[error("its exp is missing or more than a day after its iat")]
    Lifetime,
    /// Its signature is not by that key.
    #[error("its signature is not by the pool's key")]
    Signature,
    /// Its `sub` or `username` is none.
    #[error("its sub or username is none")]
    Subject,
}
