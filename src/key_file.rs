//! Files that contain a secret key.

use std::{collections::BTreeSet, fmt, fs, os::unix::fs::PermissionsExt as _, path::Path};

use zeroize::Zeroizing;

/// The key that a file contains, as bytes. Its memory is wiped when it is dropped, and its `Debug`
/// shows nothing.
pub struct KeyFile {
    bytes: Zeroizing<Vec<u8>>,
}

impl KeyFile {
    /// Reads a key from a file of 32 bytes to 4 KiB. A line end is not part of the key, if 32 bytes
    /// are left without it. Fails with a text that names the file and shows none of its content.
    pub fn read(path: &Path) -> Result<Self, String> {
        let error = |problem: &dyn fmt::Display| format!("{}: {problem}", path.display());
        let found = fs::metadata(path).map_err(|cause| error(&cause))?;
        if !found.is_file() || found.len() > MAX_BYTES {
            return Err(error(&"is not a file of at most 4 KiB"));
        }
        Self::from_bytes(fs::read(path).map_err(|cause| error(&cause))?).map_err(|cause| error(&cause))
    }

    /// Takes what a file or a variable has, of the same form. The error shows nothing of it.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, &'static str> {
        let mut bytes = Zeroizing::new(bytes);
        let length = without_line_end(&bytes).len();
        bytes.truncate(length);
        if length < MIN_BYTES {
            return Err("has fewer than 32 bytes; create a key with `openssl rand -hex 32`");
        }
        if bytes.iter().collect::<BTreeSet<_>>().len() < MIN_DIFFERENT {
            return Err("has fewer than 8 different bytes; create a key with `openssl rand -hex 32`");
        }
        Ok(Self { bytes })
    }

    /// Returns the key.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

redacted_debug!(KeyFile);

/// Returns whether all users of this machine can read a file.
pub fn is_world_readable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.permissions().mode() & OTHERS_READ != 0)
}

fn without_line_end(bytes: &[u8]) -> &[u8] {
    let line = bytes.strip_suffix(b"\n").map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    line.filter(|line| line.len() >= MIN_BYTES).unwrap_or(bytes)
}

// The length of SHA-256's output. A shorter key would weaken HMAC and HKDF (RFC 2104, section 3).
const MIN_BYTES: usize = 32;
// Fewer are too regular to be random: 64 random hexadecimal digits have about 15 distinct values.
const MIN_DIFFERENT: usize = 8;
const MAX_BYTES: u64 = 4096;
const OTHERS_READ: u32 = 0o004;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_or_its_problem_is_returned() {
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
            (vec![7; 4097], Some("is not a file of at most 4 KiB")),
        ];
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        for (n, (bytes, problem)) in table.into_iter().enumerate() {
            fs::write(&path, &bytes).unwrap();
            match (KeyFile::read(&path), problem) {
                (Ok(_), None) => {}
                (Err(error), Some(problem)) => assert!(error.contains(problem), "{n}: {error}"),
                (read, _) => panic!("{n}: {read:?}"),
            }
        }
        assert!(KeyFile::read(folder.path()).unwrap_err().contains("is not a file"));
        assert!(KeyFile::read(&folder.path().join("none")).unwrap_err().contains("No such file"));
    }

    #[test]
    fn a_file_that_all_users_can_read_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        fs::write(&path, "00112233445566778899aabbccddeeff").unwrap();
        for (mode, expected) in [(0o600, false), (0o640, false), (0o644, true)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(is_world_readable(&path), expected, "{mode:o}");
        }
    }

    #[test]
    fn a_line_end_is_not_part_of_a_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        for end in ["", "\n", "\r\n"] {
            fs::write(&path, format!("00112233445566778899aabbccddeeff{end}")).unwrap();
            assert_eq!(KeyFile::read(&path).unwrap().bytes(), b"00112233445566778899aabbccddeeff");
        }
    }

    #[test]
    fn nothing_of_a_key_is_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        fs::write(&path, "secret-00112233445566778899aabbccddeeff").unwrap();
        let shown = format!("{:?}", KeyFile::read(&path));
        assert!(!shown.contains("secret") && shown.contains("redacted"), "{shown}");
    }
}
