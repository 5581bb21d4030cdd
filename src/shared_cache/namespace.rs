//! The namespace that keeps deployments apart in one store.

use std::{fmt, str::FromStr, sync::Arc};

use thiserror::Error;

/// The first part of every key in the store: 1 to 16 characters of `[a-z0-9-]`; cheap to clone.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Namespace(Arc<str>);

impl Namespace {
    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Namespace {
    type Err = InvalidNamespace;

    fn from_str(text: &str) -> Result<Self, InvalidNamespace> {
        let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let is_valid = (1..=MAX_CHARACTERS).contains(&text.len()) && text.bytes().all(is_allowed);
        if is_valid { Ok(Self(text.into())) } else { Err(InvalidNamespace) }
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The error for a text that is not a namespace.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("is not a namespace; expected 1 to 16 characters of [a-z0-9-]")]
pub struct InvalidNamespace;

const MAX_CHARACTERS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_cannot_change_the_form_of_a_key() {
        for good in ["cl", "a", "-", "prod-2", &"x".repeat(16)] {
            assert_eq!(good.parse::<Namespace>().unwrap().to_string(), good);
        }
        for bad in ["", "CL", "a:b", "{a}", "a b", "a*", "é", "a\0", &"x".repeat(17)] {
            assert_eq!(bad.parse::<Namespace>(), Err(InvalidNamespace), "{bad:?}");
        }
    }
}
