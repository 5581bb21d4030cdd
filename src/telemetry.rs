//! Logging: one line an event, for people on a terminal, as JSON elsewhere; and what is counted, in `metrics`.

pub mod metrics;

use std::{
    error::Error,
    io::{self, IsTerminal as _},
    panic,
};

use tracing::error;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{EnvFilter, fmt};

use crate::config::{LogFormat, LogLevel, LogSettings};

/// Starts to log on standard error; does nothing if logging was started before in this process.
///
/// From then on panics are logged too, by their place. The level is for this crate. Of others only warnings are heard, for at finer levels some write whole requests.
pub fn start(settings: &LogSettings) -> Flush {
    // Written by a thread of its own: a reader that stalls must stop neither calls nor the end of the process. What does
    // not fit in the queue is lost.
    let (writer, flush) = NonBlockingBuilder::default().lossy(true).finish(io::stderr());
    let filter = EnvFilter::new(directives(settings.level));
    // Where standard error is closed, a complaint about it would be a panic.
    let log = fmt().with_env_filter(filter).with_writer(writer).log_internal_errors(false);
    let started = match settings.format {
        LogFormat::Auto if io::stderr().is_terminal() => log.try_init(),
        LogFormat::Console => log.try_init(),
        LogFormat::Auto | LogFormat::Json => log.json().flatten_event(true).try_init(),
    };
    if started.is_ok() {
        panic::set_hook(Box::new(log_panic));
    }
    Flush(flush)
}

/// Dropped at the end of the process, it waits for what was logged to be written, a second at most.
#[derive(Debug)]
pub struct Flush(#[expect(dead_code, reason = "it is there to be dropped")] WorkerGuard);

/// Says where, not what: a panic's text may hold anything.
fn log_panic(info: &panic::PanicHookInfo<'_>) {
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    error!(place, "panicked");
}

/// Writes an error and its sources in a line, for libraries say little in the first of them.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        line.extend([": ", &error.to_string()]);
        source = error.source();
    }
    line
}

fn directives(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "warn,cognito_lookup=info",
        LogLevel::Debug => "warn,cognito_lookup=debug",
        LogLevel::Trace => "warn,cognito_lookup=trace",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_names_every_source() {
        let inner = io::Error::other("refused");
        let outer = io::Error::other(Wrapped(inner));
        assert_eq!(chain(&outer), "wrapped: refused");
    }

    #[derive(Debug, thiserror::Error)]
    #[error("wrapped")]
    struct Wrapped(#[source] io::Error);
}
