//! The target `key_set`.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a target that panics reports a bug"
)]

use std::collections::{BTreeMap, BTreeSet};

use super::{InvalidSet, KeySet};
use crate::oracle::{Json, decode_base64url};

/// The usable keys are exactly those that a second reader finds, with the same moduli. A set that is
/// fetched again keeps all keys.
pub(crate) fn key_set(input: &[u8]) {
    let set = match KeySet::parse(input) {
        Ok(set) => set,
        Err(InvalidSet::Empty) => {
            assert!(usable(input).is_empty(), "a usable key was not found");
            return;
        }
        Err(InvalidSet::Syntax | InvalidSet::TooMany) => return,
    };
    let expected = usable(input);
    let found: BTreeMap<_, _> =
        set.usable.iter().map(|key| (key.id.to_string(), key.modulus.clone())).collect();
    assert!(found == expected && found.len() == set.len(), "other keys");
    let again = KeySet::parse(input).expect("the same set").keeping_keys_of(Some(&set));
    assert!(again.usable.iter().all(|key| set.contains(key)), "a key was replaced by itself");
}

/// Returns the moduli of the usable keys of a document, by key id.
fn usable(document: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let document = Json::parse(document).expect("it is JSON");
    let mut keys: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for (id, modulus) in document.member("keys").expect("it has keys").items().iter().filter_map(usable_key) {
        keys.entry(id).or_default().insert(modulus);
    }
    keys.retain(|_, moduli| moduli.len() == 1);
    keys.into_iter().map(|(id, moduli)| (id, moduli.into_iter().next().unwrap_or_default())).collect()
}

/// Returns id and modulus of a key for RS256 (RFC 7517, section 4; RFC 7518, section 6.3.1).
fn usable_key(key: &Json) -> Option<(String, Vec<u8>)> {
    let is_absent = |name| matches!(key.member(name), None | Some(Json::Null));
    let is_or_absent = |name, value| is_absent(name) || key.text(name) == Some(value);
    let (kid, modulus) = (key.text("kid")?, decode_base64url(key.text("n")?)?);
    let (first, last) = (*modulus.first()?, *modulus.last()?);
    let bits = modulus.len() * 8 - first.leading_zeros() as usize;
    let operations = key.member("key_ops").map_or(&[][..], Json::items);
    let may_verify = is_absent("key_ops")
        || (operations.iter().all(|operation| matches!(operation, Json::Text(_)))
            && operations.contains(&Json::Text("verify".to_owned())));
    let is_usable = key.is_strict_object()
        && key.text("kty") == Some("RSA")
        && key.text("e") == Some("AQAB")
        && is_or_absent("alg", "RS256")
        && is_or_absent("use", "sig")
        && may_verify
        && (1..=128).contains(&kid.len())
        && first != 0
        && last % 2 == 1
        && (2048..=8192).contains(&bits);
    is_usable.then(|| (kid.to_owned(), modulus))
}
