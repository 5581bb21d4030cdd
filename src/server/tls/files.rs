//! The files of TLS, read together, and what rustls makes of them.

use std::{
    fs, io,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use rustls::{
    RootCertStore, ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::{NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier},
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};

use super::validity::{NotValidNow, Validity};
use crate::config::{ClientCertificate, ErrorCollector, TlsSettings};

/// Where the files are.
#[derive(Debug)]
pub(super) struct TlsFiles {
    certificate: PathBuf,
    key: PathBuf,
    client_ca: Option<PathBuf>,
    client_certificate: ClientCertificate,
    pub(super) check_every: Duration,
}

/// What is wrong with the files, and the setting that names the one at fault.
#[derive(Debug)]
pub(super) struct TlsFileError {
    pub(super) key: &'static str,
    pub(super) problem: String,
    /// From when on the same files may be good; none if never.
    pub(super) until: Option<SystemTime>,
}

/// What the files hold. The key is among it, so its `Debug` shows nothing.
#[derive(Eq, PartialEq)]
pub(super) struct FileContents {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

impl std::fmt::Debug for FileContents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FileContents(redacted)")
    }
}

impl TlsFiles {
    /// Reads the settings; none where TLS is not set, or if anything is wrong, which `errors` then says.
    pub(super) fn from_settings(settings: &TlsSettings, errors: &mut ErrorCollector<'_>) -> Option<Self> {
        let TlsSettings { certificate, key, client_ca, client_certificate, check_every } = settings;
        let asked = *client_certificate != ClientCertificate::Off;
        if !asked && client_ca.is_some() {
            errors
                .add("tls.client_certificate", "must be \"required\" or \"optional\" where client_ca is set");
        }
        if asked && client_ca.is_none() {
            errors.add(CLIENT_CA, "must be set where client certificates are asked for");
        }
        match (certificate, key) {
            (Some(certificate), Some(key)) => Some(Self {
                certificate: certificate.into(),
                key: key.into(),
                client_ca: client_ca.as_ref().filter(|_| asked).map(PathBuf::from),
                client_certificate: *client_certificate,
                check_every: *check_every,
            }),
            (Some(_), None) => {
                errors.add(KEY, "must be set where tls.certificate is");
                None
            }
            (None, Some(_)) => {
                errors.add(CERTIFICATE, "must be set where tls.key is");
                None
            }
            (None, None) => {
                if asked || client_ca.is_some() {
                    errors.add(CERTIFICATE, "must be set for client certificates to be asked for");
                }
                None
            }
        }
    }

    /// Returns true if and only if every file can be read; `errors` says which cannot.
    pub(super) fn are_readable(&self, errors: &mut ErrorCollector<'_>) -> bool {
        let files = [
            (CERTIFICATE, Some(&self.certificate)),
            (KEY, Some(&self.key)),
            (CLIENT_CA, self.client_ca.as_ref()),
        ];
        let bad: Vec<_> = files.into_iter().filter_map(|(key, path)| read_file(key, path?).err()).collect();
        let all = bad.is_empty();
        bad.into_iter().for_each(|TlsFileError { key, problem, .. }| errors.add(key, problem));
        all
    }

    /// Reads all files, twice if need be: where they are being replaced one by one, a mixture is not taken for them.
    pub(super) fn read(&self) -> Result<FileContents, TlsFileError> {
        let mut contents = self.read_once()?;
        for _ in 0..MAX_READS {
            let again = self.read_once()?;
            if again == contents {
                break;
            }
            contents = again;
        }
        Ok(contents)
    }

    fn read_once(&self) -> Result<FileContents, TlsFileError> {
        Ok(FileContents {
            certificate: read_file(CERTIFICATE, &self.certificate)?,
            key: read_file(KEY, &self.key)?,
            client_ca: self.client_ca.as_ref().map(|path| read_file(CLIENT_CA, path)).transpose()?,
        })
    }
}

impl FileContents {
    /// Returns until when the server's own certificate is good; of the others in its file a client may have better ones.
    /// Fails where it is not good at `now`, for no client would take it.
    pub(super) fn expiry(&self, now: SystemTime) -> Result<SystemTime, TlsFileError> {
        let certificates = certificates(CERTIFICATE, &self.certificate)?;
        let validity = certificates.first().and_then(Validity::read);
        let validity = validity
            .ok_or_else(|| file_error(CERTIFICATE, "does not begin with a certificate as RFC 5280 has it"))?;
        match validity.check(now) {
            Ok(()) => Ok(validity.until()),
            Err(early @ NotValidNow::NotYet(from)) => {
                Err(TlsFileError { until: Some(from), ..file_error(CERTIFICATE, early) })
            }
            Err(late @ NotValidNow::Expired(_)) => Err(file_error(CERTIFICATE, late)),
        }
    }

    /// Makes the configuration of a server that speaks HTTP/2 over TLS 1.2 and 1.3.
    pub(super) fn config(&self, files: &TlsFiles) -> Result<ServerConfig, TlsFileError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let certificates = certificates(CERTIFICATE, &self.certificate)?;
        // Not why: what the reader complains of may quote the key.
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|_| {
            file_error(KEY, "holds no private key in PEM (is each line of it a line of its own?)")
        })?;
        let certified =
            CertifiedKey::from_der(certificates, key, &provider).map_err(|error| match error {
                rustls::Error::InconsistentKeys(_) => file_error(KEY, "is not the key of the certificate"),
                error => file_error(KEY, error),
            })?;
        let verifier = self.verifier(files.client_certificate, &provider)?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(|error| file_error(CERTIFICATE, error))?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(certified)));
        config.alpn_protocols = vec![b"h2".to_vec()];
        if self.client_ca.is_some() {
            // A resumed session would vouch for a certificate that has expired since.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        Ok(config)
    }

    fn verifier(
        &self,
        asked: ClientCertificate,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ClientCertVerifier>, TlsFileError> {
        let Some(client_ca) = &self.client_ca else { return Ok(WebPkiClientVerifier::no_client_auth()) };
        let mut roots = RootCertStore::empty();
        for certificate in certificates(CLIENT_CA, client_ca)? {
            roots.add(certificate).map_err(|error| file_error(CLIENT_CA, error))?;
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(provider));
        let verifier = match asked {
            ClientCertificate::Optional => verifier.allow_unauthenticated(),
            ClientCertificate::Off | ClientCertificate::Required => verifier,
        };
        verifier.build().map_err(|error| file_error(CLIENT_CA, error))
    }
}

fn read_file(key: &'static str, path: &PathBuf) -> Result<Vec<u8>, TlsFileError> {
    read_bounded(path).map_err(|error| file_error(key, format_args!("{}: {error}", path.display())))
}

/// Reads a file, of which a pipe or a device is none: that might never end.
fn read_bounded(path: &PathBuf) -> io::Result<Vec<u8>> {
    let found = fs::metadata(path)?;
    if !found.is_file() || found.len() > MAX_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "is no file of at most 1 MiB"));
    }
    fs::read(path)
}

fn certificates(key: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsFileError> {
    let certificates = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let certificates = certificates.map_err(|_| file_error(key, "is not PEM from end to end"))?;
    if certificates.is_empty() {
        Err(file_error(key, "holds no certificate in PEM"))
    } else {
        Ok(certificates)
    }
}

fn file_error(key: &'static str, problem: impl ToString) -> TlsFileError {
    TlsFileError { key, problem: problem.to_string(), until: None }
}

const CERTIFICATE: &str = "tls.certificate";
const KEY: &str = "tls.key";
const CLIENT_CA: &str = "tls.client_ca";
const MAX_READS: usize = 5;
const MAX_BYTES: u64 = 1024 * 1024;
