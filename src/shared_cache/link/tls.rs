//! TLS to the store. The files are read at each connect, so a replaced one needs no restart.

use std::{fs, io, path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, TrustAnchor, pem::PemObject as _},
    version::{TLS12, TLS13},
};

use super::{
    super::fault::{Fault, FaultKind},
    target::Tls,
};

/// The contents of the files.
pub(super) struct Contents {
    pub(super) ca: Option<Vec<u8>>,
    /// The certificate and the key.
    pub(super) client: Option<(Vec<u8>, Vec<u8>)>,
}

/// Reads the files.
pub(super) fn read(tls: &Tls) -> Result<Contents, Fault> {
    let ca = tls.ca_file.as_deref().map(|path| read_file(CA_FILE, path)).transpose()?;
    let client = match &tls.client {
        None => None,
        Some(files) => Some((read_file(CERTIFICATE, &files.certificate)?, read_file(KEY, &files.key)?)),
    };
    Ok(Contents { ca, client })
}

/// Returns the configuration of a client that trusts the CA file, or `system` if there is none.
pub(super) fn client_config(
    contents: &Contents,
    system: &[TrustAnchor<'static>],
) -> Result<ClientConfig, Fault> {
    let roots = match &contents.ca {
        Some(pem) => trusted(pem)?,
        None => RootCertStore { roots: system.to_vec() },
    };
    // Named, because the process-wide default depends on what other crates enable in rustls.
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(|error| invalid(CERTIFICATE, error))?
        .with_root_certificates(roots);
    let Some((certificate, key)) = &contents.client else { return Ok(builder.with_no_client_auth()) };
    let chain = certificates(CERTIFICATE, certificate)?;
    // The parser's error is dropped, because it may quote the key.
    let key =
        PrivateKeyDer::from_pem_slice(key).map_err(|_| invalid(KEY, "contains no private key in PEM"))?;
    builder.with_client_auth_cert(chain, key).map_err(|error| invalid(KEY, error))
}

fn trusted(pem: &[u8]) -> Result<RootCertStore, Fault> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(CA_FILE, pem)? {
        roots.add(certificate).map_err(|error| invalid(CA_FILE, error))?;
    }
    Ok(roots)
}

fn certificates(setting: &str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let found = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|_| invalid(setting, "contains invalid PEM"))?;
    if found.is_empty() { Err(invalid(setting, "contains no certificate in PEM")) } else { Ok(found) }
}

/// Reads a regular file of a bounded size. Reading a pipe or a device might never end.
pub(super) fn read_file(setting: &str, path: &Path) -> Result<Vec<u8>, Fault> {
    let contents = fs::metadata(path).and_then(|metadata| match metadata.is_file() {
        true if metadata.len() <= MAX_BYTES => fs::read(path),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "is not a file of at most 1 MiB")),
    });
    contents.map_err(|error| invalid(setting, format_args!("{}: {error}", path.display())))
}

fn invalid(setting: &str, problem: impl std::fmt::Display) -> Fault {
    Fault::new(FaultKind::Settings, format_args!("{setting}: {problem}"))
}

pub(super) const CA_FILE: &str = "shared_cache.ca_file";
pub(super) const CERTIFICATE: &str = "shared_cache.certificate";
const KEY: &str = "shared_cache.key";
const MAX_BYTES: u64 = 1 << 20;
