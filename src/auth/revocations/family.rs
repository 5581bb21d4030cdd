//! Families of tokens.

use aws_lc_rs::digest::{SHA256, digest};

/// All access tokens that come from one sign-in: those with the same `origin_jti`.
///
/// The claim names the refresh token (Cognito developer guide, "Understanding the access token").
/// This is the first 16 bytes of its SHA-256.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct TokenFamily([u8; BYTES]);

redacted_debug!(TokenFamily);

impl TokenFamily {
    /// Returns the family of the tokens with this `origin_jti`.
    pub(crate) fn of(origin_jti: &str) -> Self {
        let digest = digest(&SHA256, origin_jti.as_bytes());
        Self(digest.as_ref().first_chunk().copied().unwrap_or_default())
    }

    /// Returns the family with these bytes; none if they are not 16.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Returns the bytes, which name the family in all processes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

const BYTES: usize = 16;
