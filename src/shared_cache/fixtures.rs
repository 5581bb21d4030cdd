//! Keys for tests.

#![cfg_attr(not(test), allow(dead_code, reason = "fuzz targets use a part of it"))]
#![allow(clippy::unwrap_used, reason = "the keys are valid")]

use std::{io::Write as _, sync::Arc};

use tempfile::NamedTempFile;

use super::{
    index::IndexKey,
    keys::{KeyRing, ValueKeys},
    seal::Sealer,
};
use crate::key_file::KeyFile;

/// Returns the content of a key file that `name` is part of.
pub(crate) fn secret(name: &str) -> String {
    format!("00112233445566778899aabbccddeeff {name}")
}

pub(crate) fn key_file(name: &str) -> KeyFile {
    let mut file = NamedTempFile::new().unwrap();
    writeln!(file, "{}", secret(name)).unwrap();
    KeyFile::read(file.path()).unwrap()
}

/// Returns an index key that `name` decides.
pub(crate) fn index_key(name: &str) -> IndexKey {
    IndexKey::of(&key_file(name)).unwrap()
}

/// Returns a sealer with the keys that these names decide; the first one seals.
pub(crate) fn sealer(namespace: &str, names: &[&str]) -> Sealer {
    let ring = KeyRing::of(names.iter().map(|name| key_file(name))).unwrap();
    Sealer::new(namespace.parse().unwrap(), Arc::new(ValueKeys::fixed(ring)))
}
