//! The root certificates that servers' certificates must lead to.

use std::{io, path::Path};

use rustls::{ClientConfig, RootCertStore};
use rustls_native_certs::{CertificateResult, Error, ErrorKind, load_certs_from_paths, load_native_certs};

use super::VariableError;
use crate::config::environment_variable;

/// Root certificates.
#[derive(Debug)]
pub(super) struct Roots {
    pub(super) store: RootCertStore,
    /// The environment variable that names them; none for those of the system.
    pub(super) source: Option<&'static str>,
}

impl Roots {
    /// Reads the certificates of `AWS_CA_BUNDLE`, else of `SSL_CERT_FILE` and `SSL_CERT_DIR`, else
    /// those of the system. `AWS_CA_BUNDLE` replaces the others, as in AWS's own tools.
    pub(super) fn from_environment() -> Result<Self, VariableError> {
        if let Some((variable, file)) = environment_variable(&["AWS_CA_BUNDLE"]) {
            let loaded = load_certs_from_paths(Some(Path::new(&file)), None);
            // An operator's file, which may be mounted after the start. What the other variables name
            // comes with the system.
            let may_pass = loaded.errors.iter().any(is_missing);
            return Self::named(variable, loaded).map_err(|error| VariableError { may_pass, ..error });
        }
        let [file, folders] = ["SSL_CERT_FILE", "SSL_CERT_DIR"].map(|name| environment_variable(&[name]));
        match file.or(folders) {
            Some((variable, _)) => Self::named(variable, load_native_certs()),
            None => Ok(Self { store: store(load_native_certs()), source: None }),
        }
    }

    fn named(variable: &'static str, loaded: CertificateResult) -> Result<Self, VariableError> {
        let failed = |problem| Err(VariableError { variable, problem, may_pass: false });
        if let Some(error) = loaded.errors.first() {
            return failed(error.to_string());
        }
        let store = store(loaded);
        if store.is_empty() {
            return failed("names no PEM file with a certificate".to_owned());
        }
        Ok(Self { store, source: Some(variable) })
    }

    /// Returns the TLS settings of a client that speaks these protocols, the preferred one first.
    pub(super) fn client_config(&self, protocols: &[&[u8]]) -> ClientConfig {
        // With the one crypto provider that this crate is built with.
        let builder = ClientConfig::builder().with_root_certificates(self.store.clone());
        let mut config = builder.with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        config
    }
}

impl Default for Roots {
    fn default() -> Self {
        Self { store: RootCertStore::empty(), source: None }
    }
}

fn is_missing(error: &Error) -> bool {
    matches!(&error.kind, ErrorKind::Io { inner, .. } if inner.kind() == io::ErrorKind::NotFound)
}

/// Leaves out certificates that cannot be parsed, as a system's list may have some.
fn store(loaded: CertificateResult) -> RootCertStore {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(loaded.certs);
    store
}
