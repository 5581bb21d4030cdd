//! The target `verified_tokens`.

use std::{
    collections::HashSet,
    sync::Arc,
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
    oracle::Input,
    pool::Pool,
    telemetry::metrics::Metrics,
};

/// Only a token that was verified before, byte for byte, is a hit.
///
/// The input is lines. A line that begins with `+` is verified, all others are only looked up. Of each
/// verified one, the tokens with one bit flipped and one byte more or less are looked up too.
pub(crate) fn verified_tokens(input: &[u8]) {
    let lab = Lab::new();
    let (mut input, mut verified) = (Input::new(input), HashSet::new());
    let lines = std::iter::from_fn(|| input.line()).take(MAX_LINES);
    for line in lines.collect::<Vec<_>>() {
        let is_new = line.starts_with('+');
        let token = line.trim_start_matches('+').as_bytes().to_vec();
        match lab.tokens.look_up(&token) {
            Ok(_) => assert!(verified.contains(&token), "a hit for a token that was never verified"),
            Err(pending) => {
                assert!(!verified.contains(&token), "a miss for a verified token");
                if is_new {
                    drop(pending.insert(lab.verified()));
                    verified.insert(token.clone());
                }
            }
        }
        for other in mutations(&token) {
            let is_hit = lab.tokens.look_up(&other).is_ok();
            assert_eq!(is_hit, verified.contains(&other), "a mutated token");
        }
    }
}

fn mutations(token: &[u8]) -> Vec<Vec<u8>> {
    let mut other = token.to_vec();
    let middle = other.len() / 2;
    if let Some(byte) = other.get_mut(middle) {
        *byte ^= 1;
    }
    let longer = [token, b"="].concat();
    let shorter = token.split_last().map_or_else(Vec::new, |(_, shorter)| shorter.to_vec());
    [other, longer, shorter].into_iter().filter(|other| other != token).collect()
}

/// A cache, and what a verified token is made of.
struct Lab {
    tokens: VerifiedTokens,
    keys: Arc<Keys>,
    pool: Arc<Pool>,
}

impl Lab {
    fn new() -> Self {
        let tokens = VerifiedTokens::new(1 << 20, &RevocationSettings::default(), &Metrics::new());
        Self { tokens, keys: Keys::for_test(), pool: Pool::for_test() }
    }

    #[allow(clippy::unwrap_used, reason = "the names are valid")]
    fn verified(&self) -> VerifiedToken {
        let user = TokenUser {
            pool: Arc::clone(&self.pool),
            sub: "ada".parse().unwrap(),
            username: "ada".parse().unwrap(),
            groups: None,
            issued_at: SystemTime::UNIX_EPOCH,
            family: None,
        };
        let client = Client { id: "client1".parse().unwrap(), scopes: Scopes::default() };
        let in_an_hour = SystemTime::now() + Duration::from_secs(3600);
        let expires_at = in_an_hour.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        VerifiedToken {
            identity: TokenIdentity { client: Arc::new(client), user: Some(Arc::new(user)) },
            validity: Validity::for_test(None, expires_at),
            key: self.keys.any_key(),
            keys: Arc::clone(&self.keys),
            checked: CheckedVersion::default(),
        }
    }
}

const MAX_LINES: usize = 64;
