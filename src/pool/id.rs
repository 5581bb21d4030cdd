//! The ids of user pools and of app clients.

use std::{borrow::Borrow, fmt, str::FromStr, sync::Arc};

use thiserror::Error;

/// The id of a user pool, such as `eu-west-1_AbCdEfGhI`: at most 55 characters (API reference,
/// `UserPoolIdType`). One pointer wide, because every cache entry has it.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PoolId(Arc<String>);

impl PoolId {
    /// Returns the id as AWS spells it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the Region that the id begins with; none for the id of an emulator (`local_…`).
    pub(super) fn region(&self) -> Option<&str> {
        self.0.split_once('_').map(|(prefix, _)| prefix).filter(|prefix| is_region(prefix))
    }
}

impl FromStr for PoolId {
    type Err = InvalidPoolId;

    fn from_str(id: &str) -> Result<Self, InvalidPoolId> {
        let (prefix, name) = id.rsplit_once('_').ok_or(InvalidPoolId)?;
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        let valid = id.len() <= 55
            && !prefix.is_empty()
            && prefix.bytes().all(word)
            && !name.is_empty()
            && name.bytes().all(|b| b.is_ascii_alphanumeric());
        if valid { Ok(Self(Arc::new(id.to_owned()))) } else { Err(InvalidPoolId) }
    }
}

impl fmt::Display for PoolId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The error for a text that is not a pool id.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("is not a user pool id; expected REGION_ID such as eu-west-1_AbCdEfGhI")]
pub struct InvalidPoolId;

/// The id of an app client: 1 to 128 characters of `[A-Za-z0-9_+]` (API reference, `ClientIdType`).
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ClientId(Arc<str>);

impl ClientId {
    /// Returns the id as AWS spells it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for ClientId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl FromStr for ClientId {
    type Err = InvalidClientId;

    fn from_str(id: &str) -> Result<Self, InvalidClientId> {
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'+';
        if id.is_empty() || id.len() > 128 || !id.bytes().all(word) {
            return Err(InvalidClientId);
        }
        Ok(Self(id.into()))
    }
}

/// The error for a text that is not an app client id.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("is not an app client id; expected 1 to 128 characters of [A-Za-z0-9_+]")]
pub struct InvalidClientId;

/// Returns whether `text` has the form of a Region, such as `us-gov-west-1` or `eusc-de-east-1`: words
/// and a number.
pub(super) fn is_region(text: &str) -> bool {
    let parts: Vec<_> = text.split('-').collect();
    let [first, middle @ .., number] = parts.as_slice() else { return false };
    let is = |part: &str, allowed: fn(&u8) -> bool| !part.is_empty() && part.bytes().all(|b| allowed(&b));
    let is_word = |part: &&str| is(part, |b| b.is_ascii_lowercase() || b.is_ascii_digit());
    is(first, u8::is_ascii_lowercase)
        && !middle.is_empty()
        && middle.iter().all(is_word)
        && is(number, u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_id_may_begin_with_a_region() {
        let table = [
            ("eu-west-1_AbCdEfGhI", Some("eu-west-1")),
            ("us-gov-west-1_AbC", Some("us-gov-west-1")),
            ("ap-southeast-12_AbC", Some("ap-southeast-12")),
            ("mx-central-1_AbC", Some("mx-central-1")),
            ("eusc-de-east-1_AbC", Some("eusc-de-east-1")),
            ("us-isob-east-1_AbC", Some("us-isob-east-1")),
            ("eu-isoe-west-1_AbC", Some("eu-isoe-west-1")),
            ("-west-1_AbC", None),
            ("eu-1_AbC", None),
            ("eu--1_AbC", None),
            ("local_3k2j1", None),
            ("eu-west_X", None),
            ("EU-west-1_X", None),
        ];
        for (id, region) in table {
            assert_eq!(id.parse::<PoolId>().unwrap().region(), region, "{id}");
        }
    }

    #[test]
    fn ids_are_bounded() {
        for bad in [
            "",
            "_",
            "eu-west-1",
            "eu-west-1_",
            "eu-west-1_a/b",
            "eu west_a",
            &format!("eu-west-1_{}", "a".repeat(46)),
        ] {
            assert_eq!(bad.parse::<PoolId>(), Err(InvalidPoolId), "{bad:?}");
        }
        for bad in ["", "a b", "a-b", &"a".repeat(129)] {
            assert_eq!(bad.parse::<ClientId>(), Err(InvalidClientId), "{bad:?}");
        }
    }
}
