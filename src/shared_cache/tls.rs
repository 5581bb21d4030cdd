//! Checks the TLS files when the settings are read.

use std::{fmt, fs, path::Path};

use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};

/// Checks a file of certificates in PEM.
pub(super) fn check_certificates(path: &Path) -> Result<(), String> {
    let pem = read(path)?;
    let found = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|_| error(path, &"contains invalid PEM"))?;
    if found.is_empty() { Err(error(path, &"contains no certificate in PEM")) } else { Ok(()) }
}

/// Checks a file of a private key in PEM.
pub(super) fn check_key(path: &Path) -> Result<(), String> {
    // The parser's error is dropped, because it may quote the key.
    let key = PrivateKeyDer::from_pem_slice(&read(path)?);
    key.map(drop).map_err(|_| error(path, &"contains no private key in PEM (are its line breaks lost?)"))
}

/// Reads a regular file. Reading a pipe or a device might never end.
fn read(path: &Path) -> Result<Vec<u8>, String> {
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
