//! Seals what goes into the store, so that the store learns nothing and can change nothing.
//!
//! A sealed text is `0x01 ‖ key id (4 bytes) ‖ nonce (12) ‖ ciphertext ‖ tag (16)`, under
//! AES-256-GCM-SIV (RFC 8452): a nonce that random numbers repeat would show only that two texts
//! are equal. The plain text is padded to steps of 64 bytes, so that its length tells little.

use std::{slice, sync::Arc};

use aws_lc_rs::{
    aead::{Aad, Nonce, RandomizedNonceKey},
    error::Unspecified,
};
use thiserror::Error;

use super::{
    keys::{ValueKey, ValueKeys},
    kind::ValueKind,
    namespace::Namespace,
    secret::KeyId,
};
use crate::{pool::PoolId, user::Sub};

/// Seals and opens what is in the store; cheap to clone.
#[derive(Clone, Debug)]
pub struct Sealer {
    namespace: Namespace,
    keys: Arc<ValueKeys>,
}

/// What a sealed text is bound to. It opens only under the same one, in the same namespace.
#[derive(Clone, Copy, Debug)]
pub enum Binding<'a> {
    /// A value of a user.
    Value {
        /// The user's pool.
        pool: &'a PoolId,
        /// The user.
        sub: &'a Sub,
        /// What the value is about.
        kind: ValueKind,
    },
    /// An event. It contains the user that it is about.
    Event,
    /// A revocation. It says itself which tokens it is about.
    Revocation,
    /// When a replica did the task that it does for all.
    Task,
    /// A resume token, which callers keep.
    ResumeToken {
        /// A hash of the caller and of what it watches.
        holder: &'a [u8; 32],
    },
}

/// A text that was opened.
#[derive(Eq, PartialEq)]
pub struct Opened {
    /// The plain text.
    pub plain: Vec<u8>,
    /// The key that opened it.
    pub key: KeyAge,
}

redacted_debug!(Opened);

/// Whether a text was sealed with the key that seals now.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum KeyAge {
    /// With the first of `shared_cache.value_key_files`.
    Current,
    /// With another of them.
    Previous,
}

/// Why a sealed text does not open.
#[derive(Clone, Copy, Debug, Eq, Error, Hash, PartialEq)]
pub enum Unreadable {
    /// It was sealed with a key that is in no file of `shared_cache.value_key_files`.
    #[error("sealed with an unknown key")]
    Key,
    /// It was altered, or sealed for another user, pool, kind, purpose or namespace.
    #[error("altered, or sealed for something else")]
    Binding,
    /// It has not the form of a sealed text of this version.
    #[error("not a sealed text that this version can read")]
    Format,
}

/// Why a text was not sealed.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum NotSealed {
    /// It has more than [`MAX_PLAIN_BYTES`].
    #[error("too long for the shared cache")]
    TooLong,
    /// There is no key or there are no random numbers.
    #[error("it cannot be sealed")]
    Failed,
}

impl Sealer {
    /// Makes a sealer for one namespace.
    pub fn new(namespace: Namespace, keys: Arc<ValueKeys>) -> Self {
        Self { namespace, keys }
    }

    /// Makes a sealer with a random key: only this process opens what it seals. Fails if there are no
    /// random numbers.
    pub fn of_this_process() -> Result<Self, Unspecified> {
        let namespace = "process".parse().map_err(|_| Unspecified)?;
        Ok(Self { namespace, keys: Arc::new(ValueKeys::random()?) })
    }

    /// Seals a text of at most [`MAX_PLAIN_BYTES`] with the current key.
    pub fn seal(&self, binding: Binding<'_>, plain: &[u8]) -> Result<Vec<u8>, NotSealed> {
        if plain.len() > MAX_PLAIN_BYTES {
            return Err(NotSealed::TooLong);
        }
        let keys = self.keys.load();
        let key = keys.current().ok_or(NotSealed::Failed)?;
        let (mut text, aad) = (padded(plain), Aad::from(self.bound(binding, key.id)));
        let sealed = binding.key(key).seal_in_place_separate_tag(aad, &mut text);
        let (nonce, tag) = sealed.map_err(|_| NotSealed::Failed)?;
        Ok([&[FORMAT], &key.id.0[..], nonce.as_ref(), &text, tag.as_ref()].concat())
    }

    /// Opens a sealed text. It is authentic then: a replica with this key sealed it for this
    /// binding, at some time.
    pub fn open(&self, binding: Binding<'_>, sealed: &[u8]) -> Result<Opened, Unreadable> {
        let (id, nonce, text) = parts(sealed).ok_or(Unreadable::Format)?;
        let keys = self.keys.load();
        let (key, is_current) = keys.find(id).ok_or(Unreadable::Key)?;
        let (mut text, aad) = (text.to_vec(), Aad::from(self.bound(binding, id)));
        let opened = binding.key(key).open_in_place(nonce, aad, &mut text);
        let length = unpadded(opened.map_err(|_| Unreadable::Binding)?).ok_or(Unreadable::Format)?;
        text.truncate(length);
        Ok(Opened { plain: text, key: if is_current { KeyAge::Current } else { KeyAge::Previous } })
    }

    /// Returns what is authenticated and not stored: each part after its length, so that no two
    /// bindings have the same.
    fn bound(&self, binding: Binding<'_>, id: KeyId) -> Vec<u8> {
        let fixed: [&[u8]; 4] = [binding.label(), &[FORMAT], &id.0, self.namespace.as_str().as_bytes()];
        let own: &[&[u8]] = match binding {
            Binding::Value { pool, sub, kind } => {
                &[pool.as_str().as_bytes(), sub.as_str().as_bytes(), slice::from_ref(kind.code())]
            }
            Binding::ResumeToken { holder } => &[holder],
            Binding::Event | Binding::Revocation | Binding::Task => &[],
        };
        let parts = fixed.iter().chain(own);
        parts.flat_map(|part| [&(part.len() as u64).to_be_bytes()[..], part].concat()).collect()
    }
}

impl Binding<'_> {
    fn label(self) -> &'static [u8] {
        match self {
            Self::Value { .. } => b"cognito-lookup value",
            Self::Event => b"cognito-lookup event",
            Self::Revocation => b"cognito-lookup revocation",
            Self::Task => b"cognito-lookup task",
            Self::ResumeToken { .. } => b"cognito-lookup resume token",
        }
    }

    /// A key for each purpose: no mistake in the labels can open a value as an event.
    fn key(self, key: &ValueKey) -> &RandomizedNonceKey {
        match self {
            Self::Value { .. } => &key.values,
            Self::Event => &key.events,
            Self::Revocation => &key.revocations,
            Self::Task => &key.tasks,
            Self::ResumeToken { .. } => &key.resume_tokens,
        }
    }
}

impl ValueKind {
    /// Returns its code in the binding, which never changes.
    fn code(self) -> &'static u8 {
        match self {
            Self::Profile => &b'u',
            Self::Groups => &b'g',
        }
    }
}

/// Splits a sealed text; none if it has not that form.
fn parts(sealed: &[u8]) -> Option<(KeyId, Nonce, &[u8])> {
    let ([FORMAT], rest) = sealed.split_first_chunk()? else { return None };
    let (id, rest) = rest.split_first_chunk()?;
    let (nonce, text) = rest.split_first_chunk::<NONCE_BYTES>()?;
    let padded = text.len().checked_sub(TAG_BYTES)?;
    let is_valid = (STEP..=MAX_PLAIN_BYTES + 1).contains(&padded) && padded.is_multiple_of(STEP);
    is_valid.then(|| (KeyId(*id), Nonce::from(nonce), text))
}

/// Appends one bit and zeros up to a step (ISO/IEC 7816-4).
fn padded(plain: &[u8]) -> Vec<u8> {
    let length = (plain.len() + 1).next_multiple_of(STEP);
    let mut text = Vec::with_capacity(length);
    text.extend_from_slice(plain);
    text.push(END);
    text.resize(length, 0);
    text
}

/// Returns the length of a text without its padding; none if it has none.
fn unpadded(text: &[u8]) -> Option<usize> {
    let end = text.iter().rposition(|byte| *byte != 0)?;
    (text.get(end) == Some(&END)).then_some(end)
}

/// The longest text that is sealed, in bytes. A user with the usual attributes takes 300 to 700.
pub const MAX_PLAIN_BYTES: usize = 64 * 1024 - 1;
const FORMAT: u8 = 1;
const STEP: usize = 64;
const END: u8 = 0x80;
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
#[cfg(test)]
mod tests;
