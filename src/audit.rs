//! The audit trail: one record a line of each release and refusal, apart from the log. It tells who asked about whom, by a
//! hash, for what and how that ended; never a value, a token or a bare `sub`.
//!
//! ```text
//! Ledger ─open→ Entry ─close→ the ledger's records ─every 100 ms or 32 KiB→ the writer's thread → sink
//! ```

mod batch;
mod bell;
mod entry;
mod key;
mod ledger;
mod line;
mod names;
mod notes;
mod record;
mod sink;
mod writer;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{sync::oneshot, time::timeout};
use tracing::warn;

pub use self::{
    entry::{Entry, Outcome},
    key::Key,
    ledger::{Ledger, Receipt},
    notes::Notes,
    record::Erasure,
};
use self::{key::Readable, ledger::Office, sink::Place, writer::Writer};
use crate::{
    config::{AuditSettings, AuditSink, Collector, Config},
    pool::Pools,
    telemetry::metrics::{Metrics, callers::Callers},
};

/// The audit trail of one server; cheap to clone.
#[derive(Clone, Debug)]
pub struct Audit {
    /// None where no records are kept.
    trail: Option<Trail>,
    callers: Callers,
}

#[derive(Clone, Debug)]
struct Trail {
    office: Arc<Office>,
    place: Place,
    /// What is allowed and unusual.
    remark: Option<&'static str>,
}

impl Audit {
    /// Reads the settings and the key; none if anything is wrong, which `faults` then says. Opens nothing yet.
    pub fn read(
        config: &Config,
        pools: Option<&Pools>,
        metrics: &Metrics,
        faults: &mut Collector<'_>,
    ) -> Option<Self> {
        let settings = &config.audit;
        let place = place(settings, faults);
        let (key, remark) = key(settings, faults)?;
        if settings.required && settings.sink == AuditSink::Off {
            faults.add("audit.required", "needs a sink, and audit.sink is \"off\"");
        }
        let callers = metrics.callers.clone();
        let Some(place) = place? else { return Some(Self { trail: None, callers }) };
        let office = Office {
            bell: bell::Bell::default(),
            books: std::sync::Mutex::default(),
            key: Arc::new(key),
            metrics: metrics.clone(),
            pools: pools?.clone(),
            required: settings.required,
            room: usize::try_from(settings.max_bytes).unwrap_or(usize::MAX),
            is_losing: std::sync::atomic::AtomicBool::default(),
        };
        Some(Self { trail: Some(Trail { office: Arc::new(office), place, remark }), callers })
    }

    /// Tells an operator what is allowed and unusual.
    pub fn warn(&self) {
        if let Some(remark) = self.trail.as_ref().and_then(|trail| trail.remark) {
            warn!("{remark}");
        }
    }

    /// Opens the sink and begins to write.
    pub fn begin(&self) -> Result<Writing, BeginError> {
        let Some(Trail { office, place, .. }) = &self.trail else { return Ok(Writing(None)) };
        let ended = Writer::start(Arc::clone(office), place.clone());
        let ended = ended.map_err(|error| BeginError { place: place.to_string(), error })?;
        Ok(Writing(Some((Arc::clone(office), ended))))
    }

    /// Returns a ledger for one serving thread.
    pub fn ledger(&self) -> Ledger {
        Ledger::open_for(self.trail.as_ref().map(|trail| &trail.office), &self.callers)
    }

    /// Has the file opened again, which may have been moved away; returns false if there is none.
    pub fn reopen(&self) -> bool {
        let Some(Trail { office, place: Place::File(_), .. }) = &self.trail else { return false };
        office.bell.ring(|wanted| wanted.reopen = true);
        true
    }
}

/// The writing of records. Dropped, it ends too, and nobody waits for that.
#[derive(Debug)]
#[must_use = "the last records are written by its end"]
pub struct Writing(Option<(Arc<Office>, oneshot::Receiver<()>)>);

impl Writing {
    /// Ends it: returns when all records are written, or after two seconds.
    pub async fn end(mut self) {
        self.ring();
        let Some((_, ended)) = &mut self.0 else { return };
        if timeout(PATIENCE, ended).await.is_err() {
            warn!("the last audit records were not written: the sink does not take them");
        }
    }

    fn ring(&self) {
        if let Some((office, _)) = &self.0 {
            office.bell.ring(|wanted| wanted.end = true);
        }
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        self.ring();
    }
}

/// The sink could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("the audit sink {place} cannot be opened: {error}")]
pub struct BeginError {
    place: String,
    error: io::Error,
}

/// Reads the key that the settings name, for looking a person up in the records; none if anything is wrong, which
/// `faults` then says.
pub fn key_of(config: &Config, faults: &mut Collector<'_>) -> Option<Key> {
    if config.audit.key_file.is_none() {
        faults.add(KEY_FILE, "must be set: without it every start has a key of its own");
        return None;
    }
    key(&config.audit, faults).map(|(key, _)| key)
}

fn key(settings: &AuditSettings, faults: &mut Collector<'_>) -> Option<(Key, Option<&'static str>)> {
    let read = match &settings.key_file {
        None => Key::random().map(|key| (key, Some(KEYLESS))).map_err(|error| error.to_string()),
        Some(path) => Key::read(Path::new(path)).map(|(key, readable)| {
            (
                key,
                (readable == Readable::ByAll).then_some("everybody on this machine may read audit.key_file"),
            )
        }),
    };
    read.map_err(|problem| faults.add(KEY_FILE, problem)).ok()
}

/// None if anything is wrong, and nowhere if records are off.
fn place(settings: &AuditSettings, faults: &mut Collector<'_>) -> Option<Option<Place>> {
    let place = match (settings.sink, &settings.path) {
        (AuditSink::Off, None) => None,
        (AuditSink::Stdout, None) => Some(Place::Stdout),
        (AuditSink::File, Some(path)) => Some(Place::File(PathBuf::from(path))),
        (AuditSink::File, None) => {
            faults.add(PATH, "must be set where audit.sink is \"file\"");
            return None;
        }
        (AuditSink::Off | AuditSink::Stdout, Some(_)) => {
            faults.add("audit.sink", "must be \"file\" where audit.path is set");
            return None;
        }
    };
    if let Some(problem) = place.as_ref().and_then(Place::problem) {
        faults.add(PATH, problem);
        return None;
    }
    Some(place)
}

const KEY_FILE: &str = "audit.key_file";
const PATH: &str = "audit.path";
const KEYLESS: &str =
    "without audit.key_file the sub_hash of a person is another in each process and after each start";
const PATIENCE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests;
