//! Verified tokens without a signature.

#![allow(clippy::unwrap_used, reason = "the names are valid")]

use std::{
    sync::{Arc, LazyLock},
    time::{Duration, SystemTime},
};

use super::{CheckedVersion, VerifiedToken, VerifiedTokens};
use crate::{
    auth::{
        caller::{Client, Scopes, TokenIdentity, TokenUser},
        claims::Validity,
        keys::Keys,
    },
    config::RevocationSettings,
    pool::Pool,
    telemetry::metrics::Metrics,
    user::Groups,
};

/// Returns an empty cache of 1 MiB.
pub(super) fn verified_tokens() -> VerifiedTokens {
    VerifiedTokens::new(1 << 20, &RevocationSettings::default(), &Metrics::new())
}

/// Returns a token of this user that is valid for an hour.
pub(super) fn verified(name: &str) -> VerifiedToken {
    let (sub, username) = (name.parse().unwrap(), name.parse().unwrap());
    let (groups, issued_at) = (Some(Groups::default()), SystemTime::UNIX_EPOCH);
    let (pool, keys) = &*VERIFIER;
    let pool = Arc::clone(pool);
    let user = TokenUser { pool, sub, username, groups, issued_at, family: None };
    let client = Arc::new(Client { id: "client1".parse().unwrap(), scopes: Scopes::default() });
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    VerifiedToken {
        identity: TokenIdentity { client, user: Some(Arc::new(user)) },
        validity: Validity::for_test(None, now + Duration::from_secs(3600)),
        key: keys.any_key(),
        keys: Arc::clone(keys),
        checked: CheckedVersion::default(),
    }
}

// Made once, because a target makes many tokens.
static VERIFIER: LazyLock<(Arc<Pool>, Arc<Keys>)> =
    LazyLock::new(|| (Pool::for_test("eu-west-1_A"), Keys::for_test()));
