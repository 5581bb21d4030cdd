//! The settings of the revocation of access tokens.

use std::time::Duration;

use bytesize::MIB;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    bounded::{Bounded, DAY, HOUR, MINUTE},
    settings::MOST_BYTES,
};

/// The revocation of access tokens, which is always on. `[revocation]`
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RevocationSettings {
    /// The changes of a user that revoke its access tokens when an event reports them; default
    /// `["signed_out", "disabled", "erased"]`.
    pub on: Vec<RevocationCause>,
    /// Which tokens Cognito is asked about, by `GetUser` with the token itself, which also refuses revoked
    /// tokens that no event reports. Each such call counts towards the `budget`; default `off`.
    pub online: OnlineCheck,
    /// How long the answer counts for all tokens of the same sign-in, where `online` is `always`; default
    /// `1min`.
    #[serde(with = "Bounded::<Duration, 5_000, HOUR>")]
    pub online_every: Duration,
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
            online: OnlineCheck::Off,
            online_every: Duration::from_secs(60),
            token_lifetime: Duration::from_millis(DAY),
            max_bytes: 16 * MIB,
        }
    }
}

/// Which tokens Cognito is asked about.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnlineCheck {
    /// None.
    #[default]
    Off,
    /// Those of the user of a `RevokeToken` event, which does not name the tokens that it revoked.
    Suspect,
    /// All of users, each sign-in once in `online_every`.
    Always,
}

/// A change of a user that can revoke its access tokens.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum RevocationCause {
    /// A sign-out everywhere.
    SignedOut,
    /// An administrator disabled it.
    Disabled,
    /// It was deleted.
    Erased,
    /// Its password was changed or reset. Cognito keeps the refresh tokens then, so an app that has
    /// one gets new access tokens, which are accepted.
    Password,
}
