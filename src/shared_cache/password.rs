//! The file of the password.

use std::{fmt, fs, path::Path};

use zeroize::Zeroizing;

/// Reads a password of 1 to 512 bytes, without the line end. Fails with a text that names the file
/// and shows none of its content.
pub(super) fn read(path: &Path) -> Result<Zeroizing<String>, String> {
    let error = |problem: &dyn fmt::Display| format!("{}: {problem}", path.display());
    let found = fs::metadata(path).map_err(|cause| error(&cause))?;
    if !found.is_file() || found.len() > MAX_BYTES {
        return Err(error(&"is not a file of at most 512 bytes"));
    }
    let text = Zeroizing::new(fs::read_to_string(path).map_err(|cause| error(&cause))?);
    let line = text.strip_suffix('\n').map_or(&**text, |line| line.strip_suffix('\r').unwrap_or(line));
    if line.is_empty() || line.contains(char::is_control) {
        return Err(error(&"is not one line with a password"));
    }
    Ok(Zeroizing::new(line.to_owned()))
}

const MAX_BYTES: u64 = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        let long = "x".repeat(513);
        for (content, expected) in [
            ("secret", Some("secret")),
            ("secret\n", Some("secret")),
            ("secret\r\n", Some("secret")),
            (" a b ", Some(" a b ")),
            ("", None),
            ("\n", None),
            ("a\nb", None),
            ("a\0", None),
            (&long, None),
        ] {
            fs::write(&path, content).unwrap();
            let result = read(&path);
            assert_eq!(result.as_ref().ok().map(|text| text.as_str()), expected, "{content:?}");
            assert!(!result.is_err_and(|error| error.contains("secret")));
        }
        fs::write(&path, b"\xff").unwrap();
        assert!(read(&path).is_err() && read(folder.path()).is_err());
    }
}
