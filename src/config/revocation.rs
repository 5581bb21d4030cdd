//! The settings of the revocation of access tokens.

use std::time::Duration;

use bytesize::MIB;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    bounded::{Bounded, DAY, MINUTE},
    settings::MOST_BYTES,
};

/// The revocation of access tokens, which is always on. `[revocation]`
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RevocationSettings {
    /// The changes of a user that revoke its access tokens when an event reports them; default
    /// `signed_out`, `disabled` and `erased`.
    pub on: Vec<RevocationCause>,
    /// The longest lifetime of users' access tokens, the largest of all app clients: a token that
    /// lives longer is refused. A revocation is kept for so long, and 20 s; default `24h`.
    #[serde(with = "Bounded::<Duration, { 5 * MINUTE }, DAY>")]
    pub token_lifetime: Duration,
    /// The memory for revocations, in bytes, some 320 bytes each. If it is full, the one that would
    /// end next is dropped, and its tokens are accepted again; default `16MiB`.
    #[serde(with = "Bounded::<u64, MIB, MOST_BYTES>")]
    pub max_bytes: u64,
}

impl Default for RevocationSettings {
    fn default() -> Self {
        use RevocationCause::{Disabled, Erased, SignedOut};
        Self {
            // What Cognito itself revokes tokens for.
            on: vec![SignedOut, Disabled, Erased],
            token_lifetime: Duration::from_millis(DAY),
            max_bytes: 16 * MIB,
        }
    }
}

/// A change of a user that can revoke its access tokens.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum RevocationCause {
    /// It was signed out everywhere.
    SignedOut,
    /// An administrator disabled it.
    Disabled,
    /// It was deleted.
    Erased,
    /// Its password was changed or reset. Cognito keeps the refresh tokens then, so an app that has
    /// one gets new access tokens, which are accepted.
    Password,
}
