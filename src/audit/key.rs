//! The hash that stands for a person in the records, and its key.

use std::{collections::BTreeSet, fmt, fs, io, os::unix::fs::PermissionsExt as _, path::Path};

use aws_lc_rs::{hmac, rand::SystemRandom};
use zeroize::Zeroizing;

use crate::{pool::PoolId, user::Sub};

/// The key that `sub`s are hashed with. Its memory is wiped when it is dropped, and its `Debug` shows nothing of it.
pub struct Key(hmac::Key);

impl Key {
    /// Reads a key: the bytes of a file, without its line end where 32 bytes are left; or says what is wrong with it.
    pub(super) fn read(path: &Path) -> Result<(Self, FileAccess), String> {
        let told = |problem: &dyn ToString| format!("{}: {}", path.display(), problem.to_string());
        let found = fs::metadata(path).map_err(|error| told(&error))?;
        if !found.is_file() || found.len() > MAX_BYTES {
            return Err(told(&"is no file of at most 4 KiB"));
        }
        let bytes = Zeroizing::new(fs::read(path).map_err(|error| told(&error))?);
        let key = without_line_end(&bytes);
        if key.len() < MIN_BYTES {
            return Err(told(&"holds fewer than 32 bytes; `openssl rand -hex 32` makes a key"));
        }
        if is_weak(key) {
            return Err(told(&"holds fewer than 8 different bytes; `openssl rand -hex 32` makes a key"));
        }
        let readable = if found.permissions().mode() & OTHERS_READ == 0 {
            FileAccess::Private
        } else {
            FileAccess::WorldReadable
        };
        Ok((Self(hmac::Key::new(hmac::HMAC_SHA256, key)), readable))
    }

    /// Makes a key that nobody else has; fails where the system has no random numbers.
    pub(super) fn random() -> io::Result<Self> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new());
        key.map(Self).map_err(|_| io::Error::other("the system gives no random numbers"))
    }

    /// Returns what stands for a user of a pool: HMAC-SHA-256 (RFC 2104) of both ids with a zero byte between, which is
    /// in neither.
    pub fn hash(&self, pool: &PoolId, sub: &Sub) -> SubHash {
        let mut context = hmac::Context::with_key(&self.0);
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

/// What stands for a person in the records: 64 hexadecimal digits.
#[derive(Clone, Copy, Eq, PartialEq)]
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

impl fmt::Debug for SubHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

const fn digit(number: u8) -> u8 {
    if number < 10 { b'0' + number } else { b'a' + number - 10 }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(redacted)")
    }
}

/// Who may read a key's file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum FileAccess {
    /// Its owner, and its group perhaps.
    Private,
    /// Everybody on this machine.
    WorldReadable,
}

fn without_line_end(bytes: &[u8]) -> &[u8] {
    let line = bytes.strip_suffix(b"\n").map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    line.filter(|line| line.len() >= MIN_BYTES).unwrap_or(bytes)
}

/// No generator makes such a key: 64 random hexadecimal digits are 15 different ones.
fn is_weak(key: &[u8]) -> bool {
    key.iter().collect::<BTreeSet<_>>().len() < MIN_DIFFERENT
}

// What the hash itself puts out; less would be easier to guess (RFC 2104, section 3).
const MIN_BYTES: usize = 32;
const MIN_DIFFERENT: usize = 8;
const MAX_BYTES: u64 = 4096;
const OTHERS_READ: u32 = 0o004;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_or_its_fault_is_told() {
        let (hex, shorter) = ("00112233445566778899aabbccddeeff", "00112233445566778899aabbccddeef");
        let few = Some("fewer than 32 bytes");
        let same = Some("fewer than 8 different");
        let table = [
            (hex.into(), None),
            (format!("{hex}\n").into_bytes(), None),
            (format!("{shorter}\n").into_bytes(), None),
            ((0..32).collect(), None),
            (shorter.into(), few),
            (Vec::new(), few),
            ("a".repeat(32).into_bytes(), same),
            ("changeme".repeat(8).into_bytes(), same),
            (vec![7; 4097], Some("is no file of at most 4 KiB")),
        ];
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        for (n, (bytes, fault)) in table.into_iter().enumerate() {
            fs::write(&path, &bytes).unwrap();
            match (Key::read(&path), fault) {
                (Ok(_), None) => {}
                (Err(told), Some(fault)) => assert!(told.contains(fault), "{n}: {told}"),
                (read, _) => panic!("{n}: {read:?}"),
            }
        }
        assert!(Key::read(folder.path()).unwrap_err().contains("is no file"));
        assert!(Key::read(&folder.path().join("none")).unwrap_err().contains("No such file"));
    }

    #[test]
    fn a_key_for_everybody_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        fs::write(&path, "00112233445566778899aabbccddeeff").unwrap();
        for (mode, expected) in
            [(0o600, FileAccess::Private), (0o640, FileAccess::Private), (0o644, FileAccess::WorldReadable)]
        {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(Key::read(&path).unwrap().1, expected, "{mode:o}");
        }
    }

    #[test]
    fn a_line_end_is_no_part_of_a_key() {
        let folder = tempfile::tempdir().unwrap();
        let hash = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            hash(&Key::read(&path).unwrap().0, "eu-west-1_A", "ada")
        };
        let plain = hash("plain", "00112233445566778899aabbccddeeff");
        assert_eq!(hash("unix", "00112233445566778899aabbccddeeff\n"), plain);
        assert_eq!(hash("windows", "00112233445566778899aabbccddeeff\r\n"), plain);
        // printf 'eu-west-1_A\0ada' | openssl dgst -sha256 -hmac 00112233445566778899aabbccddeeff
        assert_eq!(plain, "83396e0323b408b95defae1f76c36b1c73a23d532c2682747ed1082f05490987");
    }

    #[test]
    fn a_hash_is_of_one_user_of_one_pool_by_one_key() {
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
