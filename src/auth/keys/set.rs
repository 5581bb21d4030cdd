//! A lenient reader of a JSON Web Key Set (RFC 7517, section 5): a key that we cannot use never spoils its neighbours.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::Arc,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::DecodingKey;
use serde::{Deserialize, de::IgnoredAny};
use thiserror::Error;

/// A key as long as its pool publishes it without a break: the same one, by address, however often it is fetched.
pub(in crate::auth) struct Key {
    id: Box<str>,
    rsa: Rsa,
    /// What checks signatures.
    pub(in crate::auth) verifier: DecodingKey,
}

impl Key {
    fn new(id: &str, rsa: Rsa) -> Self {
        Self { verifier: DecodingKey::from_rsa_raw_components(&rsa.modulus, &[1, 0, 1]), id: id.into(), rsa }
    }

    /// Returns the name that tokens call it by.
    pub(super) fn id(&self) -> &str {
        &self.id
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Key").field(&self.id).finish()
    }
}

/// The usable keys of a set, by name: RSA, for RS256 signatures, 2048 to 8192 bits, exponent 65537.
#[derive(Debug)]
pub(super) struct KeySet(HashMap<Box<str>, Arc<Key>>);

impl KeySet {
    /// Reads a set of at most 32 keys, at least one of them usable. Two different keys of one name are both dropped:
    /// nothing says which of them is meant.
    pub(super) fn parse(body: &[u8]) -> Result<Self, InvalidSet> {
        let document: Document = serde_json::from_slice(body).map_err(|_| InvalidSet::Syntax)?;
        if document.keys.len() > MAX_KEYS {
            return Err(InvalidSet::TooMany);
        }
        let mut keys: HashMap<Box<str>, Rsa> = HashMap::new();
        let mut ambiguous = HashSet::new();
        for jwk in document.keys.into_iter().filter_map(Entry::key) {
            let Some(rsa) = jwk.usable() else { continue };
            let kid: Box<str> = jwk.kid.into();
            if keys.get(&kid).is_some_and(|other| *other != rsa) {
                ambiguous.insert(kid.clone());
            }
            keys.insert(kid, rsa);
        }
        keys.retain(|kid, _| !ambiguous.contains(kid));
        if keys.is_empty() {
            Err(InvalidSet::Empty)
        } else {
            let key = |(id, rsa): (Box<str>, Rsa)| (id.clone(), Arc::new(Key::new(&id, rsa)));
            Ok(Self(keys.into_iter().map(key).collect()))
        }
    }

    /// Returns this set with each key that `previous` has too, name and modulus, in place of its like.
    pub(super) fn keeping_keys_of(mut self, previous: Option<&Self>) -> Self {
        for (id, key) in &mut self.0 {
            if let Some(same) =
                previous.and_then(|previous| previous.key(id)).filter(|other| other.rsa == key.rsa)
            {
                *key = same;
            }
        }
        self
    }

    /// Returns the key of this name, compared byte for byte.
    pub(super) fn key(&self, id: &str) -> Option<Arc<Key>> {
        self.0.get(id).cloned()
    }

    /// Returns true if and only if it is this very key that the set has under its name.
    pub(super) fn contains(&self, key: &Arc<Key>) -> bool {
        self.0.get(key.id()).is_some_and(|own| Arc::ptr_eq(own, key))
    }

    /// Returns how many keys are usable, at least 1.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// Why a body is no set of keys that we could use.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub(super) enum InvalidSet {
    #[error("no usable RSA key is in the set")]
    Empty,
    #[error("the body is no JSON Web Key Set")]
    Syntax,
    #[error("more than {MAX_KEYS} keys are in the set")]
    TooMany,
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Entry {
    Key(Jwk),
    Other(IgnoredAny),
}

impl Entry {
    fn key(self) -> Option<Jwk> {
        match self {
            Self::Key(jwk) => Some(jwk),
            Self::Other(_) => None,
        }
    }
}

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
    fn usable(&self) -> Option<Rsa> {
        let for_signatures = self.kty == "RSA"
            && self.alg.as_deref().is_none_or(|alg| alg == "RS256")
            && self.purpose.as_deref().is_none_or(|purpose| purpose == "sig")
            && self.key_ops.as_ref().is_none_or(|ops| ops.iter().any(|op| op == "verify"));
        if !for_signatures
            || self.kid.is_empty()
            || self.kid.len() > MAX_KEY_ID_BYTES
            || self.e != EXPONENT_65537
        {
            return None;
        }
        let modulus = URL_SAFE_NO_PAD.decode(&self.n).ok()?;
        let odd = modulus.last().is_some_and(|byte| byte % 2 == 1);
        (odd && MODULUS_BITS.contains(&bits(&modulus)?)).then_some(Rsa { modulus })
    }
}

#[derive(Eq, PartialEq)]
struct Rsa {
    modulus: Vec<u8>,
}

/// Counts the bits of a big-endian number; none if it is zero or padded with zeros (RFC 7518, section 6.3.1.1).
fn bits(modulus: &[u8]) -> Option<usize> {
    let first = modulus.first().filter(|byte| **byte != 0)?;
    Some(modulus.len() * 8 - usize::try_from(first.leading_zeros()).ok()?)
}

const MAX_KEYS: usize = 32;
const MAX_KEY_ID_BYTES: usize = 128;
const EXPONENT_65537: &str = "AQAB";
const MODULUS_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn usable_keys_are_kept_and_others_skipped() {
        let good = jwk("good", &modulus(2048, 1));
        let table = [
            ("another type", edit("kty", json!("AKP"))),
            ("symmetric", json!({"kty": "oct", "kid": "x", "k": "AAAA"})),
            ("no modulus", json!({"kty": "RSA", "kid": "x", "e": "AQAB"})),
            ("no name", json!({"kty": "RSA", "n": modulus(2048, 1), "e": "AQAB"})),
            ("empty name", edit("kid", json!(""))),
            ("long name", edit("kid", json!("k".repeat(129)))),
            ("for encryption", edit("use", json!("enc"))),
            ("operations without verify", edit("key_ops", json!(["encrypt"]))),
            ("another algorithm", edit("alg", json!("RS512"))),
            ("number for an exponent", edit("e", json!(65537))),
            ("exponent 3", edit("e", json!("Aw"))),
            ("exponent 1", edit("e", json!("AQ"))),
            ("2040 bits", edit("n", json!(modulus(2040, 1)))),
            ("8200 bits", edit("n", json!(modulus(8200, 1)))),
            ("zero-padded", edit("n", json!(encode(&[&[0], raw_modulus(2048, 1).as_slice()].concat())))),
            ("base64 padding", edit("n", json!(format!("{}==", modulus(2048, 1))))),
            ("even", edit("n", json!(modulus(2048, 2)))),
            ("zero", edit("n", json!("AA"))),
            ("no object", json!(7)),
        ];
        for (case, other) in table {
            let set = parse(&json!({"keys": [other, good]})).unwrap();
            assert_eq!(set.len(), 1, "{case}");
            assert!(set.key("good").is_some(), "{case}");
        }
        for key in [jwk("a", &modulus(8192, 1)), edit("alg", Value::Null), edit("use", Value::Null)] {
            assert_eq!(parse(&json!({"keys": [key]})).unwrap().len(), 1);
        }
    }

    #[test]
    fn two_keys_of_one_name_are_neither() {
        let (one, two) = (jwk("k", &modulus(2048, 1)), jwk("k", &modulus(2048, 3)));
        assert_eq!(parse(&json!({"keys": [one, two]})).unwrap_err(), InvalidSet::Empty);
        assert_eq!(
            parse(&json!({"keys": [one, two, one, jwk("other", &modulus(2048, 1))]})).unwrap().len(),
            1
        );
        assert_eq!(parse(&json!({"keys": [one, one]})).unwrap().len(), 1, "the same key twice is one key");
    }

    #[test]
    fn what_is_no_set_is_refused() {
        for body in ["", "<html>", "{}", "[]", "null", "{\"keys\":{}}", "{\"keys\":[]} x"] {
            assert_eq!(KeySet::parse(body.as_bytes()).unwrap_err(), InvalidSet::Syntax, "{body}");
        }
        assert_eq!(parse(&json!({"keys": []})).unwrap_err(), InvalidSet::Empty);
        let many = vec![jwk("k", &modulus(2048, 1)); 33];
        assert_eq!(parse(&json!({"keys": many})).unwrap_err(), InvalidSet::TooMany);
    }

    fn parse(document: &Value) -> Result<KeySet, InvalidSet> {
        KeySet::parse(document.to_string().as_bytes())
    }

    fn jwk(kid: &str, n: &str) -> Value {
        json!({"alg": "RS256", "e": "AQAB", "kid": kid, "kty": "RSA", "n": n, "use": "sig"})
    }

    #[test]
    fn a_key_that_stays_published_stays_the_same_one() {
        let set = |keys: &[Value]| KeySet::parse(json!({"keys": keys}).to_string().as_bytes()).unwrap();
        let (a, b) = (jwk("a", &modulus(2048, 1)), jwk("b", &modulus(2048, 3)));
        let first = set(&[a.clone(), b.clone()]);
        let own = |id| first.key(id).unwrap();
        let same = set(&[b.clone(), a]).keeping_keys_of(Some(&first));
        assert!(same.contains(&own("a")) && same.contains(&own("b")));
        let replaced = set(&[jwk("a", &modulus(2048, 5)), b.clone()]).keeping_keys_of(Some(&first));
        assert!(
            !replaced.contains(&own("a")) && replaced.contains(&own("b")),
            "another key under the same name"
        );
        let without = set(&[b]).keeping_keys_of(Some(&first));
        assert!(!without.contains(&own("a")) && without.contains(&own("b")));
        let back = set(&[jwk("a", &modulus(2048, 1))]).keeping_keys_of(Some(&without));
        assert!(!back.contains(&own("a")), "what was withdrawn once does not count again");
        assert!(!set(&[jwk("a", &modulus(2048, 1))]).keeping_keys_of(None).contains(&own("a")));
    }

    fn edit(field: &str, value: Value) -> Value {
        let mut key = jwk("edited", &modulus(2048, 1));
        key[field] = value;
        key
    }

    fn modulus(bits: usize, last: u8) -> String {
        encode(&raw_modulus(bits, last))
    }

    fn raw_modulus(bits: usize, last: u8) -> Vec<u8> {
        let mut bytes = vec![0x80; bits / 8];
        *bytes.last_mut().unwrap() = last;
        bytes
    }

    fn encode(bytes: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode(bytes)
    }
}
