//! The TLS files of the shared cache, in PEM. They are checked when the settings are read, and read
//! again at each connect.

use std::{fmt, fs, path::Path};

use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};

/// Checks a file of certificates.
pub(super) fn check_certificates(path: &Path) -> Result<(), String> {
    certificates(&read(path)?).map(drop).map_err(|problem| error(path, &problem))
}

/// Checks a file of a private key.
pub(super) fn check_key(path: &Path) -> Result<(), String> {
    key(&read(path)?).map(drop).map_err(|problem| error(path, &problem))
}

/// Reads certificates, at least one.
pub(super) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, &'static str> {
    let found = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|_| "contains invalid PEM")?;
    if found.is_empty() { Err("contains no certificate in PEM") } else { Ok(found) }
}

/// Reads a private key.
pub(super) fn key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, &'static str> {
    // The parser's error is dropped, because it may quote the key.
    let key = PrivateKeyDer::from_pem_slice(pem);
    key.map_err(|_| "contains no private key in PEM (are its line breaks lost?)")
}

/// Reads a regular file. Reading a pipe or a device might never end.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, String> {
    let found = fs::metadata(path).map_err(|cause| error(path, &cause))?;
    if !found.is_file() || found.len() > MAX_BYTES {
        return Err(error(path, &"is not a file of at most 1 MiB"));
    }
    fs::read(path).map_err(|cause| error(path, &cause))
}

fn error(path: &Path, problem: &dyn fmt::Display) -> String {
    format!("{}: {problem}", path.display())
}

const MAX_BYTES: u64 = 1024 * 1024;
