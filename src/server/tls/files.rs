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

use super::validity::{NotValid, end, expiry};
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

/// What each file contains, or why it cannot be read. `Debug` prints nothing of it, because it
/// includes the private key.
#[derive(Eq, PartialEq)]
pub(super) struct FileContents {
    certificate: ReadFile,
    key: ReadFile,
    client_ca: Option<ReadFile>,
}

type ReadFile = Result<Vec<u8>, String>;

impl fmt::Debug for FileContents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FileContents(redacted)")
    }
}

/// Everything that is wrong with the files.
#[derive(Debug, Default)]
pub(super) struct InvalidTlsFiles {
    /// At most one for each file, with the setting that names the file.
    pub(super) problems: Vec<(&'static str, String)>,
    /// When the same files may become valid; `None` if never.
    pub(super) retry_at: Option<SystemTime>,
}

impl InvalidTlsFiles {
    fn collect<T>(&mut self, key: &'static str, checked: Result<T, impl ToString>) -> Option<T> {
        checked.map_err(|problem| self.problems.push((key, problem.to_string()))).ok()
    }
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
    pub(super) fn read_together(&self) -> Option<FileContents> {
        let (first, second) = (self.read(), self.read());
        (first == second).then_some(second)
    }

    /// Reads all files.
    pub(super) fn read(&self) -> FileContents {
        FileContents {
            certificate: read_file(&self.certificate),
            key: read_file(&self.key),
            client_ca: self.client_ca.as_ref().map(|ca| read_file(&ca.path)),
        }
    }

    /// Returns the configuration of a server with HTTP/2 over TLS 1.2 and 1.3, and when its
    /// certificate expires. Fails if that is not valid at `now`: no client would accept it.
    pub(super) fn load(
        &self,
        contents: &FileContents,
        now: SystemTime,
    ) -> Result<(ServerConfig, SystemTime), InvalidTlsFiles> {
        let mut wrong = InvalidTlsFiles::default();
        let chain = wrong.collect(CERTIFICATE, of_file(&contents.certificate, certificates));
        let key = wrong.collect(KEY, of_file(&contents.key, private_key));
        // Named, because the process-wide default depends on what other crates enable in rustls.
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = wrong.collect(CLIENT_CA, self.client_verifier(contents, &provider));
        // Clients may have newer copies of the rest of the chain, so only the first one counts.
        let expiry = chain
            .as_ref()
            .map(|chain| chain.first().ok_or(NotValid::Malformed).and_then(|first| expiry(first, now)));
        if let Some(Err(NotValid::NotYet(from))) = expiry {
            wrong.retry_at = Some(from);
        }
        let expiry = expiry.and_then(|expiry| wrong.collect(CERTIFICATE, expiry));
        let is_verifying = contents.client_ca.is_some();
        let config = chain.zip(key).and_then(|(chain, key)| {
            // Without a verifier too, to find out whether the key matches.
            let verifier = verifier.unwrap_or_else(WebPkiClientVerifier::no_client_auth);
            wrong.collect(KEY, server_config(provider, verifier, is_verifying, chain, key))
        });
        match config.zip(expiry) {
            Some(loaded) if wrong.problems.is_empty() => return Ok(loaded),
            _ => {}
        }
        wrong.retry_at = wrong.retry_at.filter(|_| wrong.problems.len() == 1);
        Err(wrong)
    }

    /// Returns when the first of the client CAs expires; none without any that can be read.
    pub(super) fn client_ca_end(&self, contents: &FileContents) -> Option<SystemTime> {
        let certificates = of_file(contents.client_ca.as_ref()?, certificates).ok()?;
        certificates.iter().filter_map(|certificate| end(certificate).ok()).min()
    }

    fn client_verifier(
        &self,
        contents: &FileContents,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ClientCertVerifier>, String> {
        let (ClientCa { is_required, .. }, client_ca) = match (&self.client_ca, &contents.client_ca) {
            (None, _) => return Ok(WebPkiClientVerifier::no_client_auth()),
            (Some(_), None) => return Err("was not read".to_owned()),
            (Some(ca), Some(contents)) => (ca, contents),
        };
        let mut roots = RootCertStore::empty();
        for certificate in of_file(client_ca, certificates)? {
            roots.add(certificate).map_err(|error| error.to_string())?;
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(provider));
        let verifier = if *is_required { verifier } else { verifier.allow_unauthenticated() };
        verifier.build().map_err(|error| error.to_string())
    }
}

/// Fails if the key does not match the certificate.
fn server_config(
    provider: Arc<CryptoProvider>,
    verifier: Arc<dyn ClientCertVerifier>,
    is_verifying: bool,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, String> {
    let builder = ServerConfig::builder_with_provider(provider);
    let builder = builder.with_protocol_versions(&[&TLS13, &TLS12]).map_err(|error| error.to_string())?;
    let config = builder.with_client_cert_verifier(verifier).with_single_cert(chain, key);
    let mut config = config.map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => "does not match tls.certificate".to_owned(),
        error => error.to_string(),
    })?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    if is_verifying {
        // A resumed session would accept a client certificate that has expired since.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(config)
}

/// Reads a regular file. Reading a pipe or a device might never end.
fn read_file(path: &Path) -> ReadFile {
    let contents = fs::metadata(path).and_then(|metadata| match metadata.is_file() {
        true if metadata.len() <= MAX_BYTES => fs::read(path),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "is not a file of at most 1 MiB")),
    });
    contents.map_err(|error| format!("{}: {error}", path.display()))
}

fn of_file<T>(file: &ReadFile, parse: fn(&[u8]) -> Result<T, &'static str>) -> Result<T, String> {
    file.as_ref().map_err(Clone::clone).and_then(|bytes| parse(bytes).map_err(str::to_owned))
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, &'static str> {
    let certificates = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    match certificates {
        Ok(certificates) if certificates.is_empty() => Err("contains no certificate in PEM"),
        Ok(certificates) => Ok(certificates),
        Err(_) => Err("contains invalid PEM"),
    }
}

/// The parser's error is dropped, because it may quote the key.
fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, &'static str> {
    let key = PrivateKeyDer::from_pem_slice(pem);
    key.map_err(|_| "contains no private key in PEM (are its line breaks lost?)")
}

const CERTIFICATE: &str = "tls.certificate";
const KEY: &str = "tls.key";
const CLIENT_CA: &str = "tls.client_ca";
const MODE: &str = "tls.client_certificate";
const MAX_BYTES: u64 = 1024 * 1024;
