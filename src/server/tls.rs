//! TLS on the gRPC port: what is configured, and its reload. Certificate, key and client authorities change together or
//! not at all.

mod files;
mod validity;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use tokio::time::{MissedTickBehavior, interval};
use tokio_rustls::TlsAcceptor;
use tracing::{info, warn};

use self::files::{FileContents, TlsFileError, TlsFiles};
use crate::{
    config::{Config, ErrorCollector},
    telemetry::metrics::Metrics,
};

/// The TLS side of the gRPC port.
#[derive(Debug)]
pub(super) struct Tls {
    files: TlsFiles,
    metrics: Metrics,
    current: ArcSwap<ServerConfig>,
    last_read: Mutex<LastRead>,
}

/// What the files held when they were last looked at, good or bad.
#[derive(Debug)]
struct LastRead {
    /// None if they could not be read.
    contents: Option<FileContents>,
    /// From when on they may be judged otherwise.
    until: Option<SystemTime>,
}

/// What of the files is taken into use.
struct LoadedTls {
    config: ServerConfig,
    until: SystemTime,
}

impl Tls {
    /// Reads the settings and the files; none where TLS is not set, or if anything is wrong, which `errors` then says.
    pub(super) fn read(config: &Config, metrics: &Metrics, errors: &mut ErrorCollector<'_>) -> Option<Self> {
        let files =
            TlsFiles::from_settings(&config.tls, errors).filter(|files| files.are_readable(errors))?;
        let read =
            files.read().and_then(|contents| Ok((load(&files, &contents, SystemTime::now())?, contents)));
        let (good, contents) =
            read.map_err(|TlsFileError { key, problem, .. }| errors.add(key, problem)).ok()?;
        metrics.server.tls_loaded(good.until);
        Some(Self {
            files,
            metrics: metrics.clone(),
            current: ArcSwap::from_pointee(good.config),
            last_read: Mutex::new(LastRead { contents: Some(contents), until: None }),
        })
    }

    /// Returns what makes the handshake of one connection, with the files as they were last found good.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.current.load_full())
    }

    /// Takes the files into use if they changed and are good. If they are bad the old ones stay, which is logged once
    /// for each change; calls under way never notice.
    pub(super) fn reload(&self) {
        self.reload_at(SystemTime::now());
    }

    fn reload_at(&self, now: SystemTime) {
        let mut last_read = self.last_read.lock().unwrap_or_else(PoisonError::into_inner);
        let read = self.files.read();
        if read.as_ref().ok() == last_read.contents.as_ref()
            && last_read.until.is_none_or(|until| now < until)
        {
            return;
        }
        let (judged, contents) = match read {
            Ok(contents) => (load(&self.files, &contents, now), Some(contents)),
            Err(bad) => (Err(bad), None),
        };
        let until = judged.as_ref().err().and_then(|bad| bad.until);
        match judged {
            Ok(LoadedTls { config, until }) => {
                // The sessions of the old set are not resumed: they are in its own store.
                self.current.store(Arc::new(config));
                self.metrics.server.tls_loaded(until);
                info!("TLS files reloaded");
            }
            Err(bad) => self.report_failure(&bad),
        }
        *last_read = LastRead { contents, until };
    }

    /// Reloads whenever the files have changed, looking at them as often as is set; never returns.
    pub(super) async fn watch(&self) {
        let mut ticks = interval(self.files.check_every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.reload();
        }
    }

    fn report_failure(&self, TlsFileError { key, problem, .. }: &TlsFileError) {
        self.metrics.server.tls_reload_failures.inc();
        warn!(key, problem, "the changed TLS files are bad; the old ones stay in use");
    }
}

/// Judges what the files hold at `now`.
fn load(files: &TlsFiles, contents: &FileContents, now: SystemTime) -> Result<LoadedTls, TlsFileError> {
    Ok(LoadedTls { config: contents.config(files)?, until: contents.expiry(now)? })
}

#[cfg(test)]
mod tests {
    use std::{fs, time::Duration};

    use rcgen::{CertificateParams, KeyPair};
    use tempfile::TempDir;

    use super::*;
    use crate::config::{ErrorCollector, TlsSettings};

    #[test]
    fn a_certificate_that_is_early_is_taken_when_its_time_comes() {
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
            let told = (expiry(), metrics.server.tls_reload_failures.get());
            assert_eq!(told, (seconds(used), failures), "after {minutes} min");
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
