//! A user of a Cognito user pool: identifiers, attributes, and whether the user may sign in.

mod groups;

use std::{str::FromStr, sync::Arc};

use thiserror::Error;

pub use self::groups::{Groups, InvalidGroups};
use crate::{attribute::Attributes, cache::shared_allocation, unix_time::UnixTime};

/// A user's unchanging identifier in a pool: opaque, 1 to 128 characters of `[A-Za-z0-9_-]`, not
/// always a UUID.
///
/// See the Cognito developer guide, "Understanding the access token". Its `Debug` shows nothing.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Sub(Arc<str>);

impl Sub {
    /// Returns the identifier. Its alphabet makes it safe in a `ListUsers` filter.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Sub {
    type Err = InvalidSub;

    fn from_str(sub: &str) -> Result<Self, InvalidSub> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if sub.is_empty() || sub.len() > MAX_CHARACTERS || !sub.bytes().all(allowed) {
            return Err(InvalidSub);
        }
        Ok(Self(sub.into()))
    }
}

/// The error for a text that is not a `sub`.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("is not a sub; expected 1 to 128 characters of [A-Za-z0-9_-]")]
pub struct InvalidSub;

/// A pool's name for a user: 1 to 128 visible characters. It may be an email address, so its
/// `Debug` shows nothing.
#[derive(Clone, Eq, PartialEq)]
pub struct Username(Arc<str>);

impl Username {
    /// Reads the name of the user with this `sub`. Where users sign in with an email address or a
    /// phone number, Cognito uses the `sub` as the name; both then share one allocation.
    pub fn of(name: &str, sub: &Sub) -> Result<Self, InvalidUsername> {
        if name == sub.as_str() { Ok(Self(Arc::clone(&sub.0))) } else { name.parse() }
    }

    /// Returns the name, which is personal data.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns its heap memory in bytes, without what it shares with its user's `sub`.
    pub fn heap_bytes(&self, sub: &Sub) -> usize {
        if Arc::ptr_eq(&self.0, &sub.0) { 0 } else { shared_allocation(self.0.len()) }
    }
}

impl FromStr for Username {
    type Err = InvalidUsername;

    fn from_str(name: &str) -> Result<Self, InvalidUsername> {
        if is_name(name) { Ok(Self(name.into())) } else { Err(InvalidUsername) }
    }
}

redacted_debug!(Sub, Username);

/// The error for a text that is not a username.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("is not a username; expected 1 to 128 visible characters")]
pub struct InvalidUsername;

/// What Cognito returned about one user. The `sub` is a field and not one of the attributes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct User {
    /// The user's identifier in the pool.
    pub sub: Sub,
    /// The pool's name for the user.
    pub username: Username,
    /// Every attribute of the user, by Cognito's names.
    pub attributes: Attributes,
    /// The user's status in the sign-up and password flows.
    pub status: UserStatus,
    /// Whether the user may sign in.
    pub enabled: bool,
    /// When the user was created, if Cognito returned it.
    pub created_at: Option<UnixTime>,
    /// When the user was last modified, if Cognito returned it.
    pub updated_at: Option<UnixTime>,
}

/// The status of a user (API reference, `UserStatusType`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum UserStatus {
    /// No longer active (legacy).
    Archived,
    /// Disabled over a suspected compromise (legacy).
    Compromised,
    /// Confirmed.
    Confirmed,
    /// Signs in through a third-party identity provider.
    ExternalProvider,
    /// Must replace a temporary password.
    ForceChangePassword,
    /// Must reset the password.
    ResetRequired,
    /// Signed up, not confirmed.
    Unconfirmed,
    /// Unknown to Cognito.
    Unknown,
    /// A status that this version does not know.
    Unrecognised,
}

/// Returns whether Cognito's API accepts a text as the name of a user or a group (`UsernameType`,
/// `GroupNameType`).
fn is_name(text: &str) -> bool {
    (1..=MAX_CHARACTERS).contains(&text.chars().count())
        && !text.contains(|c: char| c.is_control() || c.is_whitespace())
}

// The longest `sub`, `username` and group name of Cognito's API (API reference, UsernameType and
// GroupNameType).
const MAX_CHARACTERS: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sub_is_opaque_but_bounded() {
        for good in ["a", "87a42a58-6051-7076-79e2-fe9208b6ae3c", "A_B-9", &"x".repeat(128)] {
            assert_eq!(good.parse::<Sub>().unwrap().as_str(), good);
        }
        let hostile = [
            "",
            "\" or sub ^= \"",
            "a b",
            "a\"",
            "a\0",
            "é",
            "１２",
            "\u{202e}a",
            "{a}",
            "a*",
            &"x".repeat(129),
        ];
        for bad in hostile {
            assert_eq!(bad.parse::<Sub>(), Err(InvalidSub), "{bad:?}");
        }
    }

    #[test]
    fn a_username_may_be_an_address_or_a_provider_name() {
        for good in ["ada", "ada@example.com", "Google_1034", "LoginWithAmazon_amzn1.account.X", "Ångström"]
        {
            assert_eq!(good.parse::<Username>().unwrap().as_str(), good);
        }
        for bad in ["", " ", "a b", "a\n", &"x".repeat(129)] {
            assert_eq!(bad.parse::<Username>(), Err(InvalidUsername), "{bad:?}");
        }
    }

    #[test]
    fn a_username_that_is_the_sub_takes_no_memory_of_its_own() {
        let sub: Sub = "87a42a58-6051-7076-79e2-fe9208b6ae3c".parse().unwrap();
        let (same, other) = (Username::of(sub.as_str(), &sub).unwrap(), Username::of("ada", &sub).unwrap());
        assert_eq!((same.as_str(), same.heap_bytes(&sub)), (sub.as_str(), 0));
        assert_eq!((other.as_str(), other.heap_bytes(&sub)), ("ada", 32));
        assert_eq!(Username::of("a b", &sub), Err(InvalidUsername));
    }

    #[test]
    fn nothing_personal_is_shown() {
        let shown = format!("{:?} {:?}", "secret-sub".parse::<Sub>(), "secret-name".parse::<Username>());
        assert!(!shown.contains("secret"), "{shown}");
    }
}
