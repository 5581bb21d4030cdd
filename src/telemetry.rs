//! Logging: one line an event, for people on a terminal, as JSON elsewhere.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::{EnvFilter, fmt};

use crate::config::{LogFormat, LogLevel, LogSettings};

/// Starts to log on standard error; does nothing if logging was started before in this process.
///
/// The level is for this crate. Of others only warnings are heard, for at finer levels some write whole requests.
pub fn start(settings: &LogSettings) {
    let filter = EnvFilter::new(directives(settings.level));
    // Where standard error is closed, a complaint about it would be a panic.
    let log = fmt().with_env_filter(filter).with_writer(io::stderr).log_internal_errors(false);
    let started = match settings.format {
        LogFormat::Auto if io::stderr().is_terminal() => log.try_init(),
        LogFormat::Console => log.try_init(),
        LogFormat::Auto | LogFormat::Json => log.json().flatten_event(true).try_init(),
    };
    drop(started);
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
