//! TLS on the gRPC port: what is configured, and its reload. Certificate, key and client authorities change together or
//! not at all.

mod files;

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use tokio::time::{MissedTickBehavior, interval};
use tokio_rustls::TlsAcceptor;
use tracing::{info, warn};

use self::files::{Bad, Contents, Files};
use crate::{
    config::{Collector, Config},
    telemetry::metrics::Metrics,
};

/// The TLS side of the gRPC port.
#[derive(Debug)]
pub(super) struct Tls {
    files: Files,
    metrics: Metrics,
    current: ArcSwap<ServerConfig>,
    /// What the files held when they were last looked at, good or bad; none if they could not be read.
    seen: Mutex<Option<Contents>>,
}

impl Tls {
    /// Reads the settings and the files; none where TLS is not set, or if anything is wrong, which `faults` then says.
    pub(super) fn read(config: &Config, metrics: &Metrics, faults: &mut Collector<'_>) -> Option<Self> {
        let files = Files::of(&config.tls, faults)?;
        let read = files.read().and_then(|contents| Ok((contents.config(&files)?, contents)));
        let (current, contents) = read.map_err(|Bad { key, problem }| faults.add(key, problem)).ok()?;
        metrics.tls_loaded();
        Some(Self {
            files,
            metrics: metrics.clone(),
            current: ArcSwap::from_pointee(current),
            seen: Mutex::new(Some(contents)),
        })
    }

    /// Returns what makes the handshake of one connection, with the files as they were last found good.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.current.load_full())
    }

    /// Takes the files into use if they changed and are good. If they are bad the old ones stay, which is logged once
    /// for each change; calls under way never notice.
    pub(super) fn reload(&self) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let read = self.files.read();
        if read.as_ref().ok() == seen.as_ref() {
            return;
        }
        let (config, contents) = match read {
            Ok(contents) => (contents.config(&self.files), Some(contents)),
            Err(bad) => (Err(bad), None),
        };
        match config {
            Ok(config) => {
                // The sessions of the old set are not resumed: they are in its own store.
                self.current.store(Arc::new(config));
                self.metrics.tls_loaded();
                info!("TLS files reloaded");
            }
            Err(bad) => self.complain(&bad),
        }
        *seen = contents;
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

    fn complain(&self, Bad { key, problem }: &Bad) {
        self.metrics.tls_reload_failures.inc();
        warn!(key, problem, "the changed TLS files are bad; the old ones stay in use");
    }
}
