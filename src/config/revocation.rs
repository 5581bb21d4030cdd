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
        Self { token_lifetime: Duration::from_millis(DAY), max_bytes: 16 * MIB }
    }
}
