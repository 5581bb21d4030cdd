//! TLS to the store. The files are read at each connect, so a replaced one needs no restart.

use std::{fmt, path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::TrustAnchor,
    version::{TLS12, TLS13},
};

use super::super::{
    fault::{Fault, FaultKind},
    target::Tls,
    tls,
};

/// The contents of the files.
pub(super) struct Contents {
    pub(super) ca: Option<Vec<u8>>,
    /// The certificate and the key.
    pub(super) client: Option<(Vec<u8>, Vec<u8>)>,
}

/// Reads the files.
pub(super) fn read(files: &Tls) -> Result<Contents, Fault> {
    let read = |setting, path: &Path| tls::read(path).map_err(|problem| invalid(setting, problem));
    let ca = files.ca_file.as_deref().map(|path| read(CA_FILE, path)).transpose()?;
    let client = match &files.client {
        None => None,
        Some(files) => Some((read(CERTIFICATE, &files.certificate)?, read(KEY, &files.key)?)),
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
    let chain = tls::certificates(certificate).map_err(|problem| invalid(CERTIFICATE, problem))?;
    let key = tls::key(key).map_err(|problem| invalid(KEY, problem))?;
    builder.with_client_auth_cert(chain, key).map_err(|error| invalid(KEY, error))
}

fn trusted(pem: &[u8]) -> Result<RootCertStore, Fault> {
    let mut roots = RootCertStore::empty();
    for certificate in tls::certificates(pem).map_err(|problem| invalid(CA_FILE, problem))? {
        roots.add(certificate).map_err(|error| invalid(CA_FILE, error))?;
    }
    Ok(roots)
}

fn invalid(setting: &str, problem: impl fmt::Display) -> Fault {
    Fault::new(FaultKind::Settings, format_args!("{setting}: {problem}"))
}

pub(super) const CA_FILE: &str = "shared_cache.ca_file";
pub(super) const CERTIFICATE: &str = "shared_cache.certificate";
const KEY: &str = "shared_cache.key";
