//! The audit trail: one record a line of each release and refusal, apart from the log. It tells who asked about whom, by a
//! hash, for what and how that ended; never a value, a token or a bare `sub`.
//!
//! ```text
//! Recorder ─open→ OpenRecord ─close→ the recorder's records ─every 100 ms or 32 KiB→ the writer's thread → sink
//! ```

mod write_buffer;
mod flush_signal;
mod open_record;
mod key;
mod recorder;
mod line;
mod names;
mod context;
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
    context::AuditContext,
    key::Key,
    open_record::{OpenRecord, Outcome},
    record::Erasure,
    recorder::{Recorder, WriteAck},
};
use self::{key::FileAccess, recorder::Shared, sink::Sink, writer::Writer};
use crate::{
    config::{AuditSettings, AuditSink, Config, ErrorCollector},
    pool::Pools,
    telemetry::metrics::Metrics,
};

/// The audit trail of one server; cheap to clone.
#[derive(Clone, Debug)]
pub struct Audit {
    /// None where no records are kept.
    trail: Option<Trail>,
}

#[derive(Clone, Debug)]
struct Trail {
    shared: Arc<Shared>,
    sink: Sink,
    /// What is allowed and unusual.
    remark: Option<&'static str>,
}

impl Audit {
    /// Reads the settings and the key; none if anything is wrong, which `errors` then says. Opens nothing yet.
    pub fn read(
        config: &Config,
        pools: Option<&Pools>,
        metrics: &Metrics,
        errors: &mut ErrorCollector<'_>,
    ) -> Option<Self> {
        let settings = &config.audit;
        let sink = sink(settings, errors);
        let (key, remark) = key(settings, errors)?;
        if settings.required && settings.sink == AuditSink::Off {
            errors.add("audit.required", "needs a sink, and audit.sink is \"off\"");
        }
        let Some(sink) = sink? else { return Some(Self { trail: None }) };
        let shared = Shared {
            flush_signal: flush_signal::FlushSignal::default(),
            buffers: std::sync::Mutex::default(),
            key: Arc::new(key),
            metrics: metrics.clone(),
            pools: pools?.clone(),
            required: settings.required,
            capacity: usize::try_from(settings.max_bytes).unwrap_or(usize::MAX),
            is_losing: std::sync::atomic::AtomicBool::default(),
        };
        Some(Self { trail: Some(Trail { shared: Arc::new(shared), sink, remark }) })
    }

    /// Tells an operator what is allowed and unusual.
    pub fn warn(&self) {
        if let Some(remark) = self.trail.as_ref().and_then(|trail| trail.remark) {
            warn!("{remark}");
        }
    }

    /// Opens the sink and begins to write.
    pub fn start(&self) -> Result<WriterHandle, OpenSinkError> {
        let Some(Trail { shared, sink, .. }) = &self.trail else { return Ok(WriterHandle(None)) };
        let ended = Writer::start(Arc::clone(shared), sink.clone());
        let ended = ended.map_err(|error| OpenSinkError { sink: sink.to_string(), error })?;
        Ok(WriterHandle(Some((Arc::clone(shared), ended))))
    }

    /// Returns a recorder for one serving thread.
    pub fn recorder(&self) -> Recorder {
        Recorder::new(self.trail.as_ref().map(|trail| &trail.shared))
    }

    /// Has the file opened again, which may have been moved away; returns false if there is none.
    pub fn reopen(&self) -> bool {
        let Some(Trail { shared, sink: Sink::File(_), .. }) = &self.trail else { return false };
        shared.flush_signal.notify(|request| request.reopen = true);
        true
    }
}

/// The writing of records. Dropped, it ends too, and nobody waits for that.
#[derive(Debug)]
#[must_use = "the last records are written by its end"]
pub struct WriterHandle(Option<(Arc<Shared>, oneshot::Receiver<()>)>);

impl WriterHandle {
    /// Ends it: returns when all records are written, or after two seconds.
    pub async fn end(mut self) {
        self.notify();
        let Some((_, ended)) = &mut self.0 else { return };
        if timeout(SHUTDOWN_TIMEOUT, ended).await.is_err() {
            warn!("the last audit records were not written: the sink does not take them");
        }
    }

    fn notify(&self) {
        if let Some((shared, _)) = &self.0 {
            shared.flush_signal.notify(|request| request.end = true);
        }
    }
}

impl Drop for WriterHandle {
    fn drop(&mut self) {
        self.notify();
    }
}

/// The sink could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("the audit sink {sink} cannot be opened: {error}")]
pub struct OpenSinkError {
    sink: String,
    error: io::Error,
}

/// Reads the key that the settings name, for looking a person up in the records; none if anything is wrong, which
/// `errors` then says.
pub fn read_key(config: &Config, errors: &mut ErrorCollector<'_>) -> Option<Key> {
    if config.audit.key_file.is_none() {
        errors.add(KEY_FILE, "must be set: without it every start has a key of its own");
        return None;
    }
    key(&config.audit, errors).map(|(key, _)| key)
}

fn key(settings: &AuditSettings, errors: &mut ErrorCollector<'_>) -> Option<(Key, Option<&'static str>)> {
    let read = match &settings.key_file {
        None => Key::random().map(|key| (key, Some(KEYLESS))).map_err(|error| error.to_string()),
        Some(path) => Key::read(Path::new(path)).map(|(key, readable)| {
            (
                key,
                (readable == FileAccess::WorldReadable)
                    .then_some("everybody on this machine may read audit.key_file"),
            )
        }),
    };
    read.map_err(|problem| errors.add(KEY_FILE, problem)).ok()
}

/// None if anything is wrong, and nowhere if records are off.
fn sink(settings: &AuditSettings, errors: &mut ErrorCollector<'_>) -> Option<Option<Sink>> {
    let sink = match (settings.sink, &settings.path) {
        (AuditSink::Off, None) => None,
        (AuditSink::Stdout, None) => Some(Sink::Stdout),
        (AuditSink::File, Some(path)) => Some(Sink::File(PathBuf::from(path))),
        (AuditSink::File, None) => {
            errors.add(PATH, "must be set where audit.sink is \"file\"");
            return None;
        }
        (AuditSink::Off | AuditSink::Stdout, Some(_)) => {
            errors.add("audit.sink", "must be \"file\" where audit.path is set");
            return None;
        }
    };
    if let Some(problem) = sink.as_ref().and_then(Sink::problem) {
        errors.add(PATH, problem);
        return None;
    }
    Some(sink)
}

const KEY_FILE: &str = "audit.key_file";
const PATH: &str = "audit.path";
const KEYLESS: &str =
    "without audit.key_file the sub_hash of a person is another in each process and after each start";
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests;
