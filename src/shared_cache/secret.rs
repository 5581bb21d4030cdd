//! A key file's secret, and the working keys that are derived from it.

use aws_lc_rs::{error::Unspecified, hkdf, rand};
use zeroize::Zeroizing;

use crate::key_file::KeyFile;

/// The content of a key file. HKDF-SHA-256 (RFC 5869) derives a key for each purpose from it, so
/// that no key serves two. Its memory is wiped when it is dropped.
#[derive(Debug)]
pub(super) struct Secret(hkdf::Prk);

/// What a derived key is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Purpose {
    /// To hash users into the keys of the store.
    Index,
    /// To tell key files apart: it is public.
    KeyId,
    /// To seal values.
    Values,
    /// To seal events.
    Events,
    /// To seal revocations.
    Revocations,
    /// To seal the time of a task.
    Tasks,
    /// To seal resume tokens.
    ResumeTokens,
}

/// The public name of a key file's secret, in front of everything that was sealed with it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct KeyId(pub(super) [u8; KEY_ID_BYTES]);

impl Secret {
    pub(super) fn of(file: &KeyFile) -> Self {
        Self::from_bytes(file.bytes())
    }

    /// Returns a random one, which no other process has.
    pub(super) fn random() -> Result<Self, Unspecified> {
        let mut bytes = Zeroizing::new([0; 32]);
        rand::fill(&mut *bytes)?;
        Ok(Self::from_bytes(&*bytes))
    }

    fn from_bytes(bytes: &[u8]) -> Self {
        Self(hkdf::Salt::new(hkdf::HKDF_SHA256, SALT).extract(bytes))
    }

    /// Returns the key of 32 bytes for this purpose.
    pub(super) fn derive(&self, purpose: Purpose) -> Result<Zeroizing<[u8; 32]>, Unspecified> {
        let mut key = Zeroizing::new([0; 32]);
        self.0.expand(&[purpose.label()], hkdf::HKDF_SHA256)?.fill(&mut *key)?;
        Ok(key)
    }

    pub(super) fn id(&self) -> Result<KeyId, Unspecified> {
        let id = self.derive(Purpose::KeyId)?;
        id.first_chunk().copied().map(KeyId).ok_or(Unspecified)
    }
}

impl Purpose {
    /// All replicas of all versions must derive the same keys, so these never change.
    fn label(self) -> &'static [u8] {
        match self {
            Self::Index => b"cognito-lookup index",
            Self::KeyId => b"cognito-lookup key id",
            Self::Values => b"cognito-lookup value",
            Self::Events => b"cognito-lookup event",
            Self::Revocations => b"cognito-lookup revocation",
            Self::Tasks => b"cognito-lookup task",
            Self::ResumeTokens => b"cognito-lookup resume token",
        }
    }
}

const KEY_ID_BYTES: usize = 4;
const SALT: &[u8] = b"cognito-lookup shared cache";
