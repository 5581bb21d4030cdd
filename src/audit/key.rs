//! The keyed hash that replaces a user's `sub` in the records.

use std::{fmt, path::Path};

use aws_lc_rs::{hmac, rand::SystemRandom};

use crate::{
    config::Secret,
    key_file::{KeyFile, is_world_readable},
    pool::PoolId,
    user::Sub,
};

/// The key that hashes each `sub`. Its memory is wiped when it is dropped, and its `Debug` output
/// does not show it.
#[derive(Debug)]
pub struct Key {
    key: hmac::Key,
    warning: Option<&'static str>,
}

impl Key {
    /// Reads a key from a file, as [`KeyFile::read`] does.
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let warning = is_world_readable(path).then_some(WORLD_READABLE);
        Ok(Self { warning, ..Self::of(&KeyFile::read(path)?) })
    }

    /// Takes a key from an environment variable; the error shows nothing of it.
    pub(super) fn from_variable(secret: &Secret) -> Result<Self, &'static str> {
        Ok(Self::of(&KeyFile::from_bytes(secret.bytes().to_owned())?))
    }

    fn of(file: &KeyFile) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, file.bytes()), warning: None }
    }

    /// Creates a random key; fails if the system has no random numbers.
    pub(super) fn random() -> Result<Self, String> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new());
        let key = key.map_err(|_| "the system has no random numbers")?;
        Ok(Self { key, warning: Some(RANDOM) })
    }

    /// Returns the warning to log about this key, if any.
    pub(super) fn warning(&self) -> Option<&'static str> {
        self.warning
    }

    /// Returns the id of the key, 8 hexadecimal digits, which says nothing about the key itself.
    pub fn id(&self) -> String {
        let digest = hmac::sign(&self.key, b"cognito-lookup audit key id");
        digest.as_ref().iter().take(4).map(|byte| format!("{byte:02x}")).collect()
    }

    /// Returns the hash of a user of a pool: HMAC-SHA-256 (RFC 2104) of both IDs with a zero byte
    /// between them, which is in neither.
    pub fn hash(&self, pool: &PoolId, sub: &Sub) -> SubHash {
        let mut context = hmac::Context::with_key(&self.key);
        for part in [pool.as_str().as_bytes(), &[0], sub.as_str().as_bytes()] {
            context.update(part);
        }
        let mut digits = [0; 64];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(context.sign().as_ref()) {
            pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
        }
        SubHash(digits)
    }
}

/// The hash of a user: 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SubHash(pub(super) [u8; 64]);

impl SubHash {
    pub(super) fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for SubHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

const fn digit(number: u8) -> u8 {
    if number < 10 { b'0' + number } else { b'a' + number - 10 }
}

const RANDOM: &str =
    "audit.key_file is not set: the sub_hash of a user differs between processes and changes with each start";
const WORLD_READABLE: &str = "all users of this machine can read audit.key_file";

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    #[test]
    fn a_key_that_all_users_can_read_is_warned_about() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        fs::write(&path, "00112233445566778899aabbccddeeff").unwrap();
        for (mode, expected) in [(0o600, None), (0o640, None), (0o644, Some(WORLD_READABLE))] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(Key::read(&path).unwrap().warning(), expected, "{mode:o}");
        }
    }

    #[test]
    fn a_line_end_is_not_part_of_a_key() {
        let folder = tempfile::tempdir().unwrap();
        let hash = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            hash(&Key::read(&path).unwrap(), "eu-west-1_A", "ada")
        };
        let plain = hash("plain", "00112233445566778899aabbccddeeff");
        assert_eq!(hash("unix", "00112233445566778899aabbccddeeff\n"), plain);
        assert_eq!(hash("windows", "00112233445566778899aabbccddeeff\r\n"), plain);
        // printf 'eu-west-1_A\0ada' | openssl dgst -sha256 -hmac 00112233445566778899aabbccddeeff
        assert_eq!(plain, "83396e0323b408b95defae1f76c36b1c73a23d532c2682747ed1082f05490987");
    }

    #[test]
    fn a_hash_depends_on_user_pool_and_key() {
        let (one, other) = (Key::random().unwrap(), Key::random().unwrap());
        let hashes = [
            hash(&one, "eu-west-1_A", "zoe"),
            hash(&one, "eu-west-1_Az", "oe"),
            hash(&one, "eu-west-1_B", "zoe"),
            hash(&one, "eu-west-1_A", "zof"),
            hash(&other, "eu-west-1_A", "zoe"),
        ];
        assert_eq!(hashes.iter().collect::<BTreeSet<_>>().len(), hashes.len());
        assert_eq!(hash(&one, "eu-west-1_A", "zoe"), hashes[0]);
        assert!(hashes.iter().all(|hash| hash.len() == 64 && !hash.contains("zoe")));
    }

    fn hash(key: &Key, pool: &str, sub: &str) -> String {
        key.hash(&pool.parse().unwrap(), &sub.parse().unwrap()).to_string()
    }
}
