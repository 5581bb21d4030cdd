//! Logging: one line an event, for people on a terminal, as JSON elsewhere; what is counted, in `metrics`; and what is
//! traced, in `traces`.

pub mod metrics;
pub mod traces;

use std::{
    error::Error,
    io::{self, IsTerminal as _},
    panic,
};

use tracing::{Level, Subscriber, error, info, warn};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{
    EnvFilter, Layer, filter::Targets, fmt, layer::SubscriberExt as _, registry, registry::LookupSpan,
    util::SubscriberInitExt as _,
};

use self::traces::Exporter;
use crate::config::{self, LogFormat, LogLevel, LogSettings};

/// Starts to log on standard error, and to send traces if the environment asks for them; does nothing if logging was
/// started before in this process.
///
/// From then on panics are logged too, by their place. The level is for this crate. Of others only warnings are heard, for at finer levels some write whole requests.
pub fn start(settings: &LogSettings) -> TelemetryGuard {
    // Written by a thread of its own: a reader that stalls must stop neither calls nor the end of the process. What does
    // not fit in the queue is lost.
    let (writer, flush) = NonBlockingBuilder::default().lossy(true).finish(io::stderr());
    // Where standard error is closed, a complaint about it would be a panic.
    let log = fmt::layer().with_writer(writer).log_internal_errors(false);
    let log = match settings.format {
        LogFormat::Auto if io::stderr().is_terminal() => log.boxed(),
        LogFormat::Console => log.boxed(),
        LogFormat::Auto | LogFormat::Json => log.json().flatten_event(true).boxed(),
    };
    let exporter = config::is_tracing_configured().then(Exporter::start);
    let exporting = exporter.as_ref().and_then(|exporter| exporter.as_ref().ok());
    let started = registry().with(log.with_filter(filter(settings.level))).with(spans(exporting)).try_init();
    if started.is_ok() {
        panic::set_hook(Box::new(log_panic));
    }
    match &exporter {
        Some(Err(error)) => warn!(cause = error_chain(error), "traces cannot be sent"),
        Some(Ok(_)) => info!("traces are sent"),
        None => {}
    }
    TelemetryGuard { _log: flush, _traces: exporter.and_then(Result::ok) }
}

/// What sends spans, and where there is no exporter wants none: a layer that is not there would let all of them be made.
fn spans<S: Subscriber + for<'s> LookupSpan<'s>>(exporter: Option<&Exporter>) -> impl Layer<S> + use<S> {
    let wanted = exporter.map(|_| (traces::TARGET, Level::INFO));
    let layer = exporter.map(|exporter| {
        let layer = tracing_opentelemetry::layer().with_tracer(exporter.tracer());
        layer.with_location(false).with_threads(false)
    });
    layer.with_filter(Targets::new().with_targets(wanted))
}

/// Returns what is heard at a level: of this crate all that it allows, of others warnings at most.
pub fn filter(level: LogLevel) -> EnvFilter {
    EnvFilter::new(directives(level))
}

/// Dropped at the end of the process, it waits for what was logged to be written, a second at most, and for the last
/// traces to be sent, two seconds at most.
#[derive(Debug)]
pub struct TelemetryGuard {
    // In this order: that traces could not be sent is logged.
    _traces: Option<Exporter>,
    _log: WorkerGuard,
}

/// Says where, not what: a panic's text may hold anything.
fn log_panic(info: &panic::PanicHookInfo<'_>) {
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    error!(place, "panicked");
}

/// Writes an error and its sources in a line, for libraries say little in the first of them.
pub fn error_chain(error: &(dyn Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        line.extend([": ", &error.to_string()]);
        source = error.source();
    }
    line
}

/// Without the warnings of what looks for credentials, which quote the whole answer of who gave none: this crate says that
/// there are none.
fn directives(level: LogLevel) -> String {
    let heard = match level {
        LogLevel::Error => return "error".to_owned(),
        LogLevel::Warn => "warn",
        LogLevel::Info => "warn,cognito_lookup=info",
        LogLevel::Debug => "warn,cognito_lookup=debug",
        LogLevel::Trace => "warn,cognito_lookup=trace",
    };
    MODULES_QUOTING_RESPONSES
        .iter()
        .fold(heard.to_owned(), |heard, module| format!("{heard},aws_config::{module}=error"))
}

const MODULES_QUOTING_RESPONSES: [&str; 6] =
    ["ecs", "imds", "meta", "profile::credentials", "sts", "web_identity_token"];

#[cfg(test)]
mod tests {
    use std::{sync::Mutex, thread};

    use super::*;

    #[test]
    fn a_chain_names_every_source() {
        let inner = io::Error::other("refused");
        let outer = io::Error::other(Wrapped(inner));
        assert_eq!(error_chain(&outer), "wrapped: refused");
    }

    #[test]
    fn a_panic_is_logged_by_its_place_and_not_by_its_text() {
        let log = tempfile::NamedTempFile::new().unwrap();
        let writer = log.reopen().unwrap();
        let others = panic::take_hook();
        // Other tests panic as they did.
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
    fn a_span_that_nobody_is_sent_is_not_made() {
        let log = fmt::layer().with_writer(io::sink).with_filter(filter(LogLevel::Info));
        tracing::subscriber::with_default(registry().with(log).with(spans(None)), || {
            assert!(traces::server_span("s/M", "r-1", &http::HeaderMap::new()).is_disabled());
        });
    }

    #[test]
    fn an_answer_without_credentials_is_not_quoted() {
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
