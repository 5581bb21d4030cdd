//! The TLS files, and the rustls configuration that they make.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use rustls::{
    RootCertStore, ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::{NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier},
    version::{TLS12, TLS13},
};

use super::validity::{NotValid, expiry};
use crate::config::{ClientCertificate, ErrorCollector, TlsSettings};

/// The paths of the files, and how they are used.
#[derive(Debug)]
pub(super) struct TlsFiles {
    certificate: PathBuf,
    key: PathBuf,
    client_ca: Option<ClientCa>,
    pub(super) check_every: Duration,
}

/// How client certificates are verified.
#[derive(Debug)]
struct ClientCa {
    path: PathBuf,
    /// Whether a client without a certificate is refused.
    is_required: bool,
}

/// What the files contain. `Debug` prints nothing of it, because it includes the private key.
#[derive(Eq, PartialEq)]
pub(super) struct FileContents {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

impl fmt::Debug for FileContents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FileContents(redacted)")
    }
}

/// What is wrong with the files.
#[derive(Clone, Debug)]
pub(super) struct InvalidTlsFiles {
    /// Each with the setting that names the file.
    pub(super) problems: Vec<(&'static str, String)>,
    /// When the same files may become valid; `None` if never.
    pub(super) retry_at: Option<SystemTime>,
}

impl TlsFiles {
    /// Checks the settings. Returns `None` without TLS; errors are added to `errors`.
    pub(super) fn from_settings(settings: &TlsSettings, errors: &mut ErrorCollector<'_>) -> Option<Self> {
        let TlsSettings { certificate, key, client_ca, client_certificate, check_every } = settings;
        let verifies = *client_certificate != ClientCertificate::Off;
        let is_needed = key.is_some() || verifies || client_ca.is_some();
        for (wrong, key, problem) in [
            (!verifies && client_ca.is_some(), MODE, "must be \"required\" or \"optional\" with client_ca"),
            (verifies && client_ca.is_none(), CLIENT_CA, "must be set to verify client certificates"),
            (certificate.is_some() && key.is_none(), KEY, "must be set if tls.certificate is set"),
            (certificate.is_none() && is_needed, CERTIFICATE, "must be set to use the other tls settings"),
        ] {
            if wrong {
                errors.add(key, problem);
            }
        }
        Some(Self {
            certificate: certificate.as_ref()?.into(),
            key: key.as_ref()?.into(),
            client_ca: match (client_certificate, client_ca) {
                (ClientCertificate::Off, None) => None,
                (ClientCertificate::Off, Some(_)) | (_, None) => return None,
                (mode, Some(path)) => {
                    let is_required = *mode == ClientCertificate::Required;
                    Some(ClientCa { path: path.into(), is_required })
                }
            },
            check_every: *check_every,
        })
    }

    /// Reads all files twice. Returns `None` if the reads differ, because then the files are being
    /// replaced: the certificate may be of one set and the key of another.
    pub(super) fn read_together(&self) -> Option<Result<FileContents, InvalidTlsFiles>> {
        let (first, second) = (self.read(), self.read());
        (first.as_ref().ok() == second.as_ref().ok()).then_some(second)
    }

    /// Reads all files, or returns everything that cannot be read.
    pub(super) fn read(&self) -> Result<FileContents, InvalidTlsFiles> {
        let client_ca = self.client_ca.as_ref().map(|ca| read_file(CLIENT_CA, &ca.path)).transpose();
        match (read_file(CERTIFICATE, &self.certificate), read_file(KEY, &self.key), client_ca) {
            (Ok(certificate), Ok(key), Ok(client_ca)) => Ok(FileContents { certificate, key, client_ca }),
            (certificate, key, client_ca) => {
                let errors = [certificate.err(), key.err(), client_ca.err()].into_iter().flatten();
                let problems = errors.flat_map(|error| error.problems).collect();
                Err(InvalidTlsFiles { problems, retry_at: None })
            }
        }
    }

    /// Returns the configuration of a server with HTTP/2 over TLS 1.2 and 1.3, and when its
    /// certificate expires. Fails if that is not valid at `now`: no client would accept it.
    pub(super) fn load(
        &self,
        contents: &FileContents,
        now: SystemTime,
    ) -> Result<(ServerConfig, SystemTime), InvalidTlsFiles> {
        let chain = certificates(CERTIFICATE, &contents.certificate)?;
        // Clients may have newer copies of the rest of the chain, so only the first one counts.
        let expiry = chain.first().ok_or(NotValid::Malformed).and_then(|first| expiry(first, now));
        let expiry = expiry.map_err(|error| InvalidTlsFiles {
            retry_at: if let NotValid::NotYet(from) = error { Some(from) } else { None },
            ..invalid(CERTIFICATE, error)
        });
        // The parser's error is dropped, because it may quote the key.
        let key = PrivateKeyDer::from_pem_slice(&contents.key)
            .map_err(|_| invalid(KEY, "contains no private key in PEM (are its line breaks lost?)"))?;
        // Named, because the process-wide default depends on what other crates enable in rustls.
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = self.client_verifier(contents, &provider)?;
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(|error| invalid(KEY, error))?;
        let config = config.with_client_cert_verifier(verifier).with_single_cert(chain, key);
        let mut config = config.map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => invalid(KEY, "does not match tls.certificate"),
            error => invalid(KEY, error),
        })?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        if contents.client_ca.is_some() {
            // A resumed session would accept a client certificate that has expired since.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        Ok((config, expiry?))
    }

    fn client_verifier(
        &self,
        contents: &FileContents,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ClientCertVerifier>, InvalidTlsFiles> {
        let (ClientCa { is_required, .. }, client_ca) = match (&self.client_ca, &contents.client_ca) {
            (None, _) => return Ok(WebPkiClientVerifier::no_client_auth()),
            (Some(_), None) => return Err(invalid(CLIENT_CA, "was not read")),
            (Some(ca), Some(contents)) => (ca, contents),
        };
        let mut roots = RootCertStore::empty();
        for certificate in certificates(CLIENT_CA, client_ca)? {
            roots.add(certificate).map_err(|error| invalid(CLIENT_CA, error))?;
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(provider));
        let verifier = if *is_required { verifier } else { verifier.allow_unauthenticated() };
        verifier.build().map_err(|error| invalid(CLIENT_CA, error))
    }
}

/// Reads a regular file. Reading a pipe or a device might never end.
fn read_file(key: &'static str, path: &Path) -> Result<Vec<u8>, InvalidTlsFiles> {
    let contents = fs::metadata(path).and_then(|metadata| match metadata.is_file() {
        true if metadata.len() <= MAX_BYTES => fs::read(path),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "is not a file of at most 1 MiB")),
    });
    contents.map_err(|error| invalid(key, format_args!("{}: {error}", path.display())))
}

fn certificates(key: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, InvalidTlsFiles> {
    let certificates = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let certificates = certificates.map_err(|_| invalid(key, "contains invalid PEM"))?;
    if certificates.is_empty() {
        return Err(invalid(key, "contains no certificate in PEM"));
    }
    Ok(certificates)
}

fn invalid(key: &'static str, problem: impl ToString) -> InvalidTlsFiles {
    InvalidTlsFiles { problems: vec![(key, problem.to_string())], retry_at: None }
}

const CERTIFICATE: &str = "tls.certificate";
const KEY: &str = "tls.key";
const CLIENT_CA: &str = "tls.client_ca";
const MODE: &str = "tls.client_certificate";
const MAX_BYTES: u64 = 1024 * 1024;
