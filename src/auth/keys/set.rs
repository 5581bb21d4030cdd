//! Reads a JSON Web Key Set (RFC 7517, section 5) leniently: unusable keys are skipped.

use std::{collections::BTreeSet, fmt, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::DecodingKey;
use serde::Deserialize;
use serde_json::{Value, value::RawValue};
use thiserror::Error;

use crate::auth::json;

/// A signing key. Fetches that return it again keep its allocation, so a cached token compares
/// addresses to check that its key is still published.
pub(in crate::auth) struct Key {
    id: Box<str>,
    modulus: Vec<u8>,
    pub(in crate::auth) verifier: DecodingKey,
}

impl Key {
    fn new(id: &str, modulus: &[u8]) -> Self {
        let verifier = DecodingKey::from_rsa_raw_components(modulus, &[1, 0, 1]);
        Self { id: id.into(), modulus: modulus.to_owned(), verifier }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Key").field(&self.id).finish()
    }
}

/// The keys of a set. Usable are RSA keys for RS256 signatures, of 2048 to 8192 bits and exponent
/// 65537.
#[derive(Clone, Debug)]
pub(super) struct KeySet {
    usable: Vec<Arc<Key>>,
    /// The ids of the other keys. Two different keys with one id are both unusable, because the id
    /// is ambiguous.
    unusable: BTreeSet<String>,
}

impl KeySet {
    /// Reads a set of at most 32 keys. At least one must be usable.
    pub(super) fn parse(body: &[u8]) -> Result<Self, InvalidSet> {
        // A set is an object (RFC 7517, section 5) in UTF-8 (RFC 8259, section 8.1). serde checks neither:
        // it skips strings that it ignores, and reads a struct from a list, too.
        let text = str::from_utf8(body).ok().filter(|text| text.trim_start().starts_with('{'));
        let document = text.and_then(|text| serde_json::from_str::<Document<'_>>(text).ok());
        let document = document.ok_or(InvalidSet::Syntax)?;
        if document.keys.len() > MAX_KEYS {
            return Err(InvalidSet::TooMany);
        }
        let (mut read, mut unusable) = (BTreeSet::new(), BTreeSet::new());
        for key in document.keys.iter().map(|key| key.get()) {
            match json::object::<Jwk>(key.as_bytes()).and_then(|jwk| Some((jwk.modulus()?, jwk.kid))) {
                Some((modulus, id)) => _ = read.insert((id, modulus)),
                None => unusable.extend(key_id(key)),
            }
        }
        let is_unique = |id: &str| read.iter().filter(|(other, _)| other == id).count() == 1;
        let (unique, ambiguous): (Vec<_>, Vec<_>) = read.iter().partition(|(id, _)| is_unique(id));
        unusable.extend(ambiguous.into_iter().map(|(id, _)| id.clone()));
        let usable: Vec<_> = unique.into_iter().map(|(id, n)| Arc::new(Key::new(id, n))).collect();
        if usable.is_empty() { Err(InvalidSet::Empty) } else { Ok(Self { usable, unusable }) }
    }

    /// Replaces each key that is also in `previous`, with the same id and modulus, by the
    /// allocation in `previous`.
    pub(super) fn keeping_keys_of(mut self, previous: Option<&Self>) -> Self {
        for key in &mut self.usable {
            let same = previous.and_then(|previous| previous.key(&key.id));
            if let Some(same) = same.filter(|same| same.modulus == key.modulus) {
                *key = same;
            }
        }
        self
    }

    /// Returns the key of this id, compared byte for byte.
    pub(super) fn key(&self, id: &str) -> Option<Arc<Key>> {
        self.usable.iter().find(|key| &*key.id == id).cloned()
    }

    /// Returns whether the set has a key of this id that cannot be used.
    pub(super) fn has_unusable(&self, id: &str) -> bool {
        self.unusable.contains(id)
    }

    /// Returns whether the set has this key, by address.
    pub(super) fn contains(&self, key: &Arc<Key>) -> bool {
        self.usable.iter().any(|own| Arc::ptr_eq(own, key))
    }

    /// Returns how many keys are usable, at least 1.
    pub(super) fn len(&self) -> usize {
        self.usable.len()
    }
}

/// Why a body is not a key set that can be used.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub(super) enum InvalidSet {
    #[error("the set has no usable RSA key")]
    Empty,
    #[error("the body is not a JSON Web Key Set")]
    Syntax,
    #[error("the set has more than {MAX_KEYS} keys")]
    TooMany,
}

#[derive(Deserialize)]
struct Document<'a> {
    #[serde(borrow)]
    keys: Vec<&'a RawValue>,
}

/// The members of a key that decide whether and how it is used (RFC 7517, section 4; RFC 7518,
/// section 6.3.1). All others are ignored, whatever they are.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: String,
    n: String,
    e: String,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
}

impl Jwk {
    /// Returns the modulus; none if the key is not for RS256, or weak.
    fn modulus(&self) -> Option<Vec<u8>> {
        let modulus = URL_SAFE_NO_PAD.decode(&self.n).ok()?;
        let is_for_rs256 = self.kty == "RSA"
            && self.alg.as_ref().is_none_or(|algorithm| algorithm == "RS256")
            && self.purpose.as_ref().is_none_or(|purpose| purpose == "sig")
            && self.key_ops.as_ref().is_none_or(|operations| operations.iter().any(|op| op == "verify"));
        let is_strong =
            self.e == EXPONENT_65537 && modulus.last()? % 2 == 1 && MODULUS_BITS.contains(&bits(&modulus)?);
        let is_named = (1..=MAX_KEY_ID_BYTES).contains(&self.kid.len());
        (is_for_rs256 && is_strong && is_named).then_some(modulus)
    }
}

fn key_id(key: &str) -> Option<String> {
    Some(serde_json::from_str::<Value>(key).ok()?.get("kid")?.as_str()?.to_owned())
}

/// Counts the bits of a big-endian number; none if it is zero or padded with zeros (RFC 7518,
/// section 6.3.1.1).
fn bits(modulus: &[u8]) -> Option<usize> {
    let first = modulus.first().filter(|byte| **byte != 0)?;
    Some(modulus.len() * 8 - usize::try_from(first.leading_zeros()).ok()?)
}

const MAX_KEYS: usize = 32;
const MAX_KEY_ID_BYTES: usize = 128;
const EXPONENT_65537: &str = "AQAB";
const MODULUS_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

#[cfg(any(test, feature = "fuzzing"))]
pub(super) mod fuzzing;
#[cfg(test)]
mod tests;
