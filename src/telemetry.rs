//! Logs, [`metrics`] and [`traces`]. A log event is one line: text for a terminal, JSON otherwise.

mod log_limit;
pub mod metrics;
pub mod traces;

use std::{
    error::Error,
    io::{self, IsTerminal as _},
    iter, panic,
};

use tracing::{Level, Subscriber, error, warn};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{FilterExt as _, Targets},
    fmt,
    layer::SubscriberExt as _,
    registry,
    registry::LookupSpan,
    util::SubscriberInitExt as _,
};

use self::{
    log_limit::{LastCounts, LogLimit},
    traces::Exporter,
};
use crate::config::{self, LogFormat, LogLevel, LogSettings};

/// Begins to log on standard error, and to export traces if the environment configures them. Does
/// nothing if this process logs already.
///
/// From then on panics are logged too, by their location. Lines that repeat are bounded: of those
/// with the same reason and caller, five a second are written, and one that counts the rest.
///
/// `settings.level` applies to this crate. Other crates log warnings at most, because some of them
/// log whole requests at finer levels, with tokens. `RUST_LOG` could ask for those, so it is not
/// read.
pub fn start(settings: &LogSettings) -> TelemetryGuard {
    // A thread of its own writes the log: a reader that stalls must block neither calls nor the end
    // of the process. The thread's queue drops what does not fit.
    let writer = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(MAX_QUEUED_LINES);
    let (writer, flush) = writer.finish(io::stderr());
    // If standard error is closed, reporting that there would panic.
    let log = fmt::layer().with_writer(writer).log_internal_errors(false);
    let log = match settings.format {
        LogFormat::Auto if io::stderr().is_terminal() => log.boxed(),
        LogFormat::Console => log.boxed(),
        LogFormat::Auto | LogFormat::Json => log.json().flatten_event(true).boxed(),
    };
    let exporter = config::is_tracing_configured().then(Exporter::start);
    let exporting = exporter.as_ref().and_then(|exporter| exporter.as_ref().ok());
    let limit = LogLimit::default();
    let log = log.with_filter(filter(settings.level).and(limit.clone()));
    let started = registry().with(log).with(spans(exporting)).try_init();
    let counts = started.is_ok().then(|| {
        panic::set_hook(Box::new(log_panic));
        limit.start()
    });
    if config::environment_variable(&["RUST_LOG"]).is_some() {
        warn!("RUST_LOG is ignored, because other crates log tokens at fine levels; set log.level instead");
    }
    match &exporter {
        Some(Err(error)) => warn!(cause = error_chain(&**error), "traces cannot be exported"),
        Some(Ok(exporter)) => exporter.log(),
        None => {}
    }
    TelemetryGuard { _traces: exporter.and_then(Result::ok), _counts: counts, _log: flush }
}

/// The OpenTelemetry layer. Without an exporter it filters all spans out; leaving the layer away
/// would still create them.
fn spans<S: Subscriber + for<'s> LookupSpan<'s>>(exporter: Option<&Exporter>) -> impl Layer<S> + use<S> {
    let wanted = exporter.map(|_| (traces::TARGET, Level::INFO));
    let layer = exporter.map(|exporter| {
        let layer = tracing_opentelemetry::layer().with_tracer(exporter.tracer());
        layer.with_location(false).with_threads(false)
    });
    layer.with_filter(Targets::new().with_targets(wanted))
}

/// Returns the log filter for a level: `level` for this crate, warnings at most for all others.
pub fn filter(level: LogLevel) -> EnvFilter {
    let levels = match level {
        LogLevel::Error => return EnvFilter::new("error"),
        LogLevel::Warn => "warn",
        LogLevel::Info => "warn,cognito_lookup=info",
        LogLevel::Debug => "warn,cognito_lookup=debug",
        LogLevel::Trace => "warn,cognito_lookup=trace",
    };
    let quiet = CREDENTIAL_MODULES.map(|module| format!("aws_config::{module}=error"));
    EnvFilter::new(format!("{levels},{}", quiet.join(",")))
}

/// Flushes on drop: waits at most one second for the log to be written and two for the last traces
/// to be sent.
#[derive(Debug)]
pub struct TelemetryGuard {
    // Dropped first, so that a failure to send traces is still logged.
    _traces: Option<Exporter>,
    _counts: Option<LastCounts>,
    _log: WorkerGuard,
}

/// Logs the location only, because the text of a panic may contain personal data.
fn log_panic(info: &panic::PanicHookInfo<'_>) {
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    error!(place, "panicked");
}

/// Returns an error and all of its sources in one line. The outermost error of many libraries says
/// little.
pub fn error_chain(error: &(dyn Error + 'static)) -> String {
    let sources = iter::successors(error.source(), |&error| error.source());
    sources.fold(error.to_string(), |line, error| format!("{line}: {error}"))
}

// A line has some 300 bytes.
const MAX_QUEUED_LINES: usize = 16 * 1024;
// The warnings of these modules quote the whole response of a source that has no credentials. This
// crate itself logs that there are none.
const CREDENTIAL_MODULES: [&str; 6] =
    ["ecs", "imds", "meta", "profile::credentials", "sts", "web_identity_token"];

#[cfg(test)]
mod tests {
    use std::{sync::Mutex, thread};

    use super::*;

    #[test]
    fn an_error_chain_has_every_source() {
        let inner = io::Error::other("refused");
        let outer = io::Error::other(Wrapped(inner));
        assert_eq!(error_chain(&outer), "wrapped: refused");
    }

    #[test]
    fn a_panic_is_logged_by_its_location_without_its_text() {
        let log = tempfile::NamedTempFile::new().unwrap();
        let writer = log.reopen().unwrap();
        let others = panic::take_hook();
        // Panics of other tests keep the hook they had.
        panic::set_hook(Box::new(move |info| match thread::current().name() {
            Some("canary") => log_panic(info),
            _ => others(info),
        }));
        let canary = thread::Builder::new().name("canary".to_owned()).spawn(move || {
            let subscriber = fmt().with_env_filter(filter(LogLevel::Trace)).with_writer(Mutex::new(writer));
            tracing::subscriber::with_default(subscriber.finish(), || panic!("the text of {}", "somebody"));
        });
        assert!(canary.unwrap().join().is_err());
        let logged = std::fs::read_to_string(log.path()).unwrap();
        assert!(logged.contains("src/telemetry.rs:") && !logged.contains("somebody"), "{logged}");
    }

    #[test]
    fn without_an_exporter_no_span_is_created() {
        let log = fmt::layer().with_writer(io::sink).with_filter(filter(LogLevel::Info));
        tracing::subscriber::with_default(registry().with(log).with(spans(None)), || {
            assert!(traces::server_span("s/M", "r-1", &http::HeaderMap::new()).is_disabled());
        });
    }

    #[test]
    fn a_response_without_credentials_is_not_logged() {
        for level in [LogLevel::Error, LogLevel::Warn, LogLevel::Info, LogLevel::Debug, LogLevel::Trace] {
            let log = tempfile::NamedTempFile::new().unwrap();
            let writer = Mutex::new(log.reopen().unwrap());
            let subscriber = fmt().with_env_filter(filter(level)).with_writer(writer).finish();
            tracing::subscriber::with_default(subscriber, || {
                warn!(target: "aws_config::meta::credentials::chain", "quoted");
                error!(target: "aws_config::imds", "kept");
                warn!(target: "aws_config::default_provider::endpoint_url", "told");
            });
            let logged = std::fs::read_to_string(log.path()).unwrap();
            assert!(logged.contains("kept") && !logged.contains("quoted"), "{level:?}: {logged}");
            assert_eq!(logged.contains("told"), level != LogLevel::Error, "{level:?}: {logged}");
        }
    }

    #[derive(Debug, thiserror::Error)]
    #[error("wrapped")]
    struct Wrapped(#[source] io::Error);
}
