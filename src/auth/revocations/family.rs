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
}

const BYTES: usize = 16;
