//! TLS on the gRPC port. Certificate, key and client CA are reloaded together or not at all.

mod files;
mod validity;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use arc_swap::ArcSwap;
use rustls::{ServerConfig, pki_types::CertificateDer};
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;
use tracing::{info, warn};

use self::files::{FileContents, InvalidTlsFiles, TlsFiles};
use crate::{
    config::{Config, ErrorCollector},
    telemetry::metrics::Metrics,
};

/// Returns until when a client certificate is valid, which the handshake has verified.
pub(super) fn certificate_end(der: &CertificateDer<'_>) -> Option<SystemTime> {
    validity::end(der).ok()
}

/// The TLS configuration of the gRPC port.
#[derive(Debug)]
pub(super) struct Tls {
    files: TlsFiles,
    metrics: Metrics,
    current: ArcSwap<ServerConfig>,
    last_read: Mutex<LastRead>,
}

/// The last read, valid or not, so that a reload does nothing while the files stay the same.
#[derive(Debug)]
struct LastRead {
    contents: FileContents,
    /// When the same contents may become valid.
    retry_at: Option<SystemTime>,
}

impl Tls {
    /// Reads the settings and the files. Returns `None` without TLS, and on errors, which are added
    /// to `errors`.
    pub(super) fn read(config: &Config, metrics: &Metrics, errors: &mut ErrorCollector<'_>) -> Option<Self> {
        let files = TlsFiles::from_settings(&config.tls, errors)?;
        let report = |InvalidTlsFiles { problems, .. }| {
            problems.into_iter().for_each(|(key, problem)| errors.add_file_error(key, problem));
        };
        let read = (0..START_ATTEMPTS).find_map(|_| files.read_together());
        let contents = read.unwrap_or_else(|| files.read());
        let (config, expiry) = files.load(&contents, SystemTime::now()).map_err(report).ok()?;
        metrics.server.tls_loaded(expiry, files.client_ca_end(&contents));
        Some(Self {
            files,
            metrics: metrics.clone(),
            current: ArcSwap::from_pointee(config),
            last_read: Mutex::new(LastRead { contents, retry_at: None }),
        })
    }

    /// Returns the acceptor for one handshake, with the files that were loaded last.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.current.load_full())
    }

    /// Loads the files if they changed. If they are invalid, the previous ones stay in use, and
    /// each change is logged once. Open connections are not affected.
    pub(super) fn reload(&self) {
        self.reload_at(SystemTime::now());
    }

    fn reload_at(&self, now: SystemTime) {
        let mut last_read = self.last_read.lock().unwrap_or_else(PoisonError::into_inner);
        // If they are being replaced, the next check decides.
        let Some(contents) = self.files.read_together() else { return };
        let is_due = last_read.retry_at.is_some_and(|at| now >= at);
        if contents == last_read.contents && !is_due {
            return;
        }
        let loaded = self.files.load(&contents, now);
        let retry_at = loaded.as_ref().err().and_then(|invalid| invalid.retry_at);
        self.apply(loaded, self.files.client_ca_end(&contents));
        *last_read = LastRead { contents, retry_at };
    }

    fn apply(&self, loaded: Result<(ServerConfig, SystemTime), InvalidTlsFiles>, ca_end: Option<SystemTime>) {
        match loaded {
            Ok((config, expiry)) => {
                // A session of the previous files cannot be resumed: its store goes with them.
                self.current.store(Arc::new(config));
                self.metrics.server.tls_loaded(expiry, ca_end);
                info!("TLS files reloaded");
            }
            Err(InvalidTlsFiles { problems, .. }) => {
                self.metrics.server.tls_reload_failures.inc();
                for (key, problem) in problems {
                    warn!(key, problem, "the new TLS files are invalid; the previous ones stay in use");
                }
            }
        }
    }

    /// Reloads changed files every `tls.check_every`; never returns.
    pub(super) async fn watch(&self) {
        loop {
            sleep(self.files.check_every).await;
            self.reload();
        }
    }
}

// A replacement of files takes less time than these reads.
const START_ATTEMPTS: usize = 1_000;

#[cfg(test)]
mod tests {
    use std::{fs, time::Duration};

    use rcgen::{CertificateParams, KeyPair};
    use tempfile::TempDir;

    use super::*;
    use crate::config::{ErrorCollector, TlsSettings};

    #[test]
    fn a_certificate_is_loaded_when_it_becomes_valid() {
        let folder = TempDir::new().unwrap();
        let start = SystemTime::now();
        let [hour, day] = [1, 24].map(|hours| Duration::from_secs(hours * 3600));
        write(&folder, start - day, start + day);
        let name = |name| Some(folder.path().join(name).display().to_string());
        let tls = TlsSettings { certificate: name("pem"), key: name("key"), ..TlsSettings::default() };
        let (config, metrics) = (Config { tls, ..Config::default() }, Metrics::new());
        let tls = Tls::read(&config, &metrics, &mut ErrorCollector::new(&config)).unwrap();
        let expiry = || {
            let text = metrics.text();
            let value = text.lines().find_map(|line| line.strip_prefix(EXPIRY)).unwrap();
            Duration::from_secs_f64(value.parse().unwrap()).as_secs()
        };
        let seconds = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        assert_eq!(expiry(), seconds(start + day));

        write(&folder, start + hour, start + 2 * day);
        for (minutes, used, failures) in [(0, start + day, 1), (59, start + day, 1), (61, start + 2 * day, 1)]
        {
            tls.reload_at(start + Duration::from_secs(minutes * 60));
            let observed = (expiry(), metrics.server.tls_reload_failures.get());
            assert_eq!(observed, (seconds(used), failures), "after {minutes} min");
        }
    }

    fn write(folder: &TempDir, from: SystemTime, until: SystemTime) {
        let mut params = CertificateParams::default();
        (params.not_before, params.not_after) = (from.into(), until.into());
        let key = KeyPair::generate().unwrap();
        fs::write(folder.path().join("pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        fs::write(folder.path().join("key"), key.serialize_pem()).unwrap();
    }

    const EXPIRY: &str = "cognito_lookup_tls_certificate_expiry_timestamp_seconds ";
}
