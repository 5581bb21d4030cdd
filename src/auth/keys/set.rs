//! Reads a JSON Web Key Set (RFC 7517, section 5) leniently: unusable keys are skipped.

use std::{collections::BTreeSet, fmt, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{
    DecodingKey,
    jwk::{AlgorithmParameters, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse},
};
use serde::Deserialize;
use thiserror::Error;

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

/// The usable keys of a set: RSA for RS256 signatures, 2048 to 8192 bits, exponent 65537.
#[derive(Debug)]
pub(super) struct KeySet(Vec<Arc<Key>>);

impl KeySet {
    /// Reads a set of at most 32 keys. At least one must be usable. Two different keys with one id
    /// are both dropped, because the id is ambiguous.
    pub(super) fn parse(body: &[u8]) -> Result<Self, InvalidSet> {
        let document: Document = serde_json::from_slice(body).map_err(|_| InvalidSet::Syntax)?;
        if document.keys.len() > MAX_KEYS {
            return Err(InvalidSet::TooMany);
        }
        let usable: BTreeSet<_> = document.keys.into_iter().filter_map(usable).collect();
        let is_unique = |id: &str| usable.iter().filter(|(other, _)| other == id).count() == 1;
        let unique = usable.iter().filter(|(id, _)| is_unique(id));
        let keys: Vec<_> = unique.map(|(id, modulus)| Arc::new(Key::new(id, modulus))).collect();
        if keys.is_empty() { Err(InvalidSet::Empty) } else { Ok(Self(keys)) }
    }

    /// Replaces each key that is also in `previous`, with the same id and modulus, by the
    /// allocation in `previous`.
    pub(super) fn keeping_keys_of(mut self, previous: Option<&Self>) -> Self {
        for key in &mut self.0 {
            let same = previous.and_then(|previous| previous.key(&key.id));
            if let Some(same) = same.filter(|same| same.modulus == key.modulus) {
                *key = same;
            }
        }
        self
    }

    /// Returns the key of this id, compared byte for byte.
    pub(super) fn key(&self, id: &str) -> Option<Arc<Key>> {
        self.0.iter().find(|key| &*key.id == id).cloned()
    }

    /// Returns whether the set has this key, by address.
    pub(super) fn contains(&self, key: &Arc<Key>) -> bool {
        self.0.iter().any(|own| Arc::ptr_eq(own, key))
    }

    /// Returns how many keys are usable, at least 1.
    pub(super) fn len(&self) -> usize {
        self.0.len()
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
struct Document {
    keys: Vec<serde_json::Value>,
}

/// Returns the id and the modulus of a key; none if it is not for RS256 or weak.
fn usable(key: serde_json::Value) -> Option<(String, Vec<u8>)> {
    let Jwk { common, algorithm } = serde_json::from_value(key).ok()?;
    let AlgorithmParameters::RSA(rsa) = algorithm else { return None };
    let id = common.key_id.filter(|id| (1..=MAX_KEY_ID_BYTES).contains(&id.len()))?;
    let modulus = URL_SAFE_NO_PAD.decode(&rsa.n).ok()?;
    let is_for_rs256 = common.key_algorithm.is_none_or(|algorithm| algorithm == KeyAlgorithm::RS256)
        && common.public_key_use.is_none_or(|purpose| purpose == PublicKeyUse::Signature)
        && common.key_operations.is_none_or(|operations| operations.contains(&KeyOperations::Verify));
    let is_strong =
        rsa.e == EXPONENT_65537 && modulus.last()? % 2 == 1 && MODULUS_BITS.contains(&bits(&modulus)?);
    (is_for_rs256 && is_strong).then_some((id, modulus))
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

#[cfg(test)]
mod tests;
