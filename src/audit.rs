//! The audit trail: a record for each release and each refusal, apart from the log.
//!
//! A record is one line of JSON with the caller, the request, the user as a keyed hash, and the
//! outcome. It has no attribute value, no token and no bare `sub`.
//!
//! ```text
//! Recorder ─open→ OpenRecord ─close→ Queue ─every 100 ms or 32 KiB→ Writer → Sink
//! ```

mod buffer;
mod flush_signal;
mod health;
mod key;
mod line;
mod names;
mod open_record;
mod pending;
mod record;
mod recorder;
mod sink;
mod stream;
mod writer;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, atomic::AtomicBool},
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::{sync::oneshot, time::timeout};
use tracing::warn;

use self::{
    flush_signal::FlushSignal,
    health::SinkHealth,
    recorder::{Queue, Shared},
    sink::Sink,
    writer::Writer,
};
pub use self::{
    key::Key,
    open_record::OpenRecord,
    recorder::{Recorder, WriteAck},
    stream::StreamRecorder,
};
use crate::{
    config::{AUDIT_KEY, AuditSettings, AuditSink, Config, ErrorCollector, PREVIOUS_AUDIT_KEY, Secret},
    pool::Pools,
    telemetry::metrics::Metrics,
};

/// The audit trail of one server; cheap to clone.
#[derive(Clone, Debug)]
pub struct Audit(
    /// None if `audit.sink` is "off".
    Option<Arc<Shared>>,
);

impl Audit {
    /// Reads the settings and the key. Returns none after adding to `errors`. Does not open the
    /// sink.
    pub fn read(
        config: &Config,
        pools: Option<&Pools>,
        metrics: &Metrics,
        errors: &mut ErrorCollector<'_>,
    ) -> Option<Self> {
        let settings = &config.audit;
        let sink = sink(settings, errors);
        if settings.required && settings.sink == AuditSink::Off {
            errors.add("audit.required", "needs a sink, but audit.sink is \"off\"");
        }
        let key = key(config, errors)?;
        // Only `audit-hash` uses the previous key, but an invalid one should fail at the start.
        previous_key(config, errors).ok()?;
        let replica = replica(settings, errors);
        let Some(sink) = sink? else { return Some(Self(None)) };
        let shared = Shared {
            sink,
            flush_signal: FlushSignal::default(),
            buffers: Mutex::default(),
            capacity: usize::try_from(settings.max_bytes).unwrap_or(usize::MAX),
            required: settings.required,
            head: line::head(&replica, &key.id()),
            key,
            pools: ArcSwap::from_pointee(pools?.clone()),
            health: SinkHealth::default(),
            dropped: metrics.server.audit_records_dropped.clone(),
            is_dropping: AtomicBool::default(),
        };
        Some(Self(Some(Arc::new(shared))))
    }

    /// Returns why the key of the hashes is unwise, if it is.
    pub fn warning(&self) -> Option<&'static str> {
        self.0.as_ref().and_then(|shared| shared.key.warning())
    }

    /// Opens the sink and starts the writer.
    pub fn start(&self) -> Result<WriterHandle, OpenSinkError> {
        let Some(shared) = &self.0 else { return Ok(WriterHandle(None)) };
        let ended = Writer::start(Arc::clone(shared));
        let ended = ended.map_err(|error| OpenSinkError { sink: shared.sink.to_string(), error })?;
        Ok(WriterHandle(Some((Arc::clone(shared), ended))))
    }

    /// Returns a recorder for one serving thread.
    pub fn recorder(&self) -> Recorder {
        Recorder(self.0.as_ref().map(Queue::new))
    }

    /// Returns whether calls can be answered: whether the sink accepts records, if they are required.
    pub fn is_ready(&self) -> bool {
        self.0.as_ref().is_none_or(|shared| !shared.required || shared.health.is_good())
    }

    /// Sets the pools that records may name from now on.
    pub fn set_pools(&self, pools: &Pools) {
        if let Some(shared) = &self.0 {
            shared.pools.store(Arc::new(pools.clone()));
        }
    }

    /// Makes the writer reopen its file, which may have been moved away. Returns whether there is a
    /// file.
    pub fn reopen(&self) -> bool {
        let file = self.0.as_ref().filter(|shared| matches!(shared.sink, Sink::File(_)));
        file.inspect(|shared| shared.flush_signal.notify(|request| request.reopen = true)).is_some()
    }
}

/// The running writer. Dropping it stops the writer without waiting for it.
#[derive(Debug)]
#[must_use = "the writer writes the last records when it ends"]
pub struct WriterHandle(Option<(Arc<Shared>, oneshot::Receiver<()>)>);

impl WriterHandle {
    /// Stops the writer; returns when it has written all records, and after two seconds at the
    /// latest.
    pub async fn end(mut self) {
        self.notify();
        let Some((_, ended)) = &mut self.0 else { return };
        if timeout(SHUTDOWN_TIMEOUT, ended).await.is_err() {
            warn!("the last audit records were not written: the sink does not accept them");
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

/// Reads the keys of the hashes in the records: the current one, and that of earlier records if there
/// is one. Returns none after adding to `errors`.
pub fn read_keys(config: &Config, errors: &mut ErrorCollector<'_>) -> Option<Vec<Key>> {
    if config.audit.key_file.is_none() && config.secrets.audit_key.is_none() {
        errors.add(KEY_FILE, "must be set: without it each start uses another key");
        return None;
    }
    let (current, previous) = (key(config, errors)?, previous_key(config, errors).ok()?);
    Some([current].into_iter().chain(previous).collect())
}

fn key(config: &Config, errors: &mut ErrorCollector<'_>) -> Option<Key> {
    let sources = (&config.audit.key_file, &config.secrets.audit_key);
    match read_key(sources, (KEY_FILE, AUDIT_KEY), errors).ok()? {
        Some(key) => Some(key),
        None => Key::random().map_err(|problem| errors.add(KEY_FILE, problem)).ok(),
    }
}

/// Returns none if no such key is set. The error was added to `errors`.
fn previous_key(config: &Config, errors: &mut ErrorCollector<'_>) -> Result<Option<Key>, ()> {
    let sources = (&config.audit.previous_key_file, &config.secrets.previous_audit_key);
    read_key(sources, ("audit.previous_key_file", PREVIOUS_AUDIT_KEY), errors)
}

/// Reads a key from the file or from the variable of the environment.
fn read_key(
    (file, variable): (&Option<String>, &Option<Secret>),
    (setting, name): (&str, &str),
    errors: &mut ErrorCollector<'_>,
) -> Result<Option<Key>, ()> {
    match (file, variable) {
        (None, None) => Ok(None),
        (Some(path), None) => {
            Key::read(Path::new(path)).map(Some).map_err(|problem| errors.add_file_error(setting, problem))
        }
        (None, Some(secret)) => {
            Key::from_variable(secret).map(Some).map_err(|problem| errors.add_variable(name, problem, false))
        }
        (Some(_), Some(_)) => {
            errors.add(setting, format_args!("is set, and so is {name}; use one of the two"));
            Err(())
        }
    }
}

/// Returns the name of this replica in the records.
fn replica(settings: &AuditSettings, errors: &mut ErrorCollector<'_>) -> String {
    let Some(name) = &settings.replica else {
        return fs::read_to_string(HOST_NAME).unwrap_or_default().trim().to_owned();
    };
    if name.is_empty() || name.len() > MAX_REPLICA_BYTES || name.contains(char::is_control) {
        errors.add("audit.replica", "must be 1 to 64 characters without control characters");
    }
    name.clone()
}

/// Returns `Some(None)` if `audit.sink` is "off", and none after an error.
fn sink(settings: &AuditSettings, errors: &mut ErrorCollector<'_>) -> Option<Option<Sink>> {
    let (key, problem) = match (settings.sink, &settings.path) {
        (AuditSink::Off, None) => return Some(None),
        (AuditSink::Stdout, None) => return Some(Some(Sink::Stdout)),
        (AuditSink::File, Some(path)) => match sink::problem(Path::new(path)) {
            None => return Some(Some(Sink::File(PathBuf::from(path)))),
            Some(problem) => {
                errors.add_file_error(PATH, problem);
                return None;
            }
        },
        (AuditSink::File, None) => (PATH, "must be set if audit.sink is \"file\""),
        (AuditSink::Off | AuditSink::Stdout, Some(_)) => {
            ("audit.sink", "must be \"file\" if audit.path is set")
        }
    };
    errors.add(key, problem);
    None
}

const KEY_FILE: &str = "audit.key_file";
const PATH: &str = "audit.path";
const MAX_REPLICA_BYTES: usize = 64;
// The host name of the process's UTS namespace (proc_sys_kernel(5)).
const HOST_NAME: &str = "/proc/sys/kernel/hostname";
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests;
