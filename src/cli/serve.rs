//! `serve`: serve until a signal ends the process.

use std::{
    fs,
    future::pending,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use futures_util::future::try_join_all;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    time::{Instant, sleep},
};

use super::{CommandError, report, settings};
use crate::{
    config::Config,
    server::{Listeners, Reloader, Server},
    telemetry::{self, TelemetryGuard},
};

/// Serves with the settings of flags, environment and file.
pub(super) async fn run(arguments: settings::Arguments) -> Result<(), CommandError> {
    let mut signals = Signals::new().map_err(CommandError::failed)?;
    let (config, _telemetry, server) = tokio::select! {
        () = signals.stop(|| {}) => return Ok(()),
        read = read(&arguments) => read?,
    };
    // The sandbox does not: what it warns of there is the sandbox's choice, and harmless.
    server.log_warnings();
    let listeners = Listeners::bind(&config).await.map_err(CommandError::failed)?;
    let (file, check_every) = (config.file, config.tls.check_every);
    let source = SettingsSource { arguments, file, check_every };
    serve(signals, vec![(server, listeners)], Some(&source)).await
}

/// Reads the settings and the files that they name, before the ports are bound: a start with wrong
/// settings never takes them.
///
/// While a machine boots, files may still be missing and the clock may be wrong. Errors that may
/// pass are therefore waited out for a minute, and then end the process with a code that
/// supervisors restart.
async fn read(arguments: &settings::Arguments) -> Result<(Config, TelemetryGuard, Server), CommandError> {
    let config = arguments.load().map_err(CommandError::start)?;
    let (give_up, mut reported) = (Instant::now() + PATIENCE, None);
    loop {
        let errors = match Server::read(config.clone()) {
            Ok(server) => {
                // Only now, because traces are exported with the same root certificates.
                let telemetry = telemetry::start(&config.log);
                return Ok((config, telemetry, server));
            }
            Err(errors) => errors,
        };
        if !errors.may_pass() || Instant::now() >= give_up {
            return Err(CommandError::start(errors));
        }
        if reported.as_ref() != Some(&errors) {
            report(&format!("waiting for up to {} s until this passes:\n{errors}", PATIENCE.as_secs()));
            reported = Some(errors);
        }
        sleep(RETRY_DELAY).await;
    }
}

/// Drains on the first SIGTERM or SIGINT, and stops at once on one that comes more than a second
/// later. SIGHUP reloads the files, and the settings if they have a source.
///
/// One stop may arrive as several signals: a supervisor signals the process and then its group, or
/// both a terminal and a supervisor send one.
pub(super) async fn serve(
    mut signals: Signals,
    servers: Vec<(Server, Listeners)>,
    source: Option<&SettingsSource>,
) -> Result<(), CommandError> {
    let reloaders: Vec<_> = servers.iter().map(|(server, _)| server.reloader()).collect();
    let reload_settings = |is_repeated| {
        let Some(source) = source else { return };
        reloaders.iter().for_each(|reloader| reloader.reload_settings(source.arguments.load(), is_repeated));
    };
    let is_outdated = || reloaders.iter().any(Reloader::is_outdated);
    let reload = || {
        reloaders.iter().for_each(Reloader::reload_files);
        reload_settings(false);
    };
    let (stop, stopped) = watch::channel(());
    let signalled = async {
        signals.stop(reload).await;
        drop(stop);
        let first = Instant::now();
        loop {
            signals.stop(reload).await;
            if first.elapsed() > SAME_STOP {
                break;
            }
        }
    };
    let serving = servers.into_iter().map(|(server, listeners)| {
        let mut stopped = stopped.clone();
        // Nothing is sent: the channel closes.
        server.serve(listeners, async move { drop(stopped.changed().await) })
    });
    tokio::select! {
        ended = try_join_all(serving) => ended.map(drop).map_err(CommandError::failed),
        () = signalled => Err(CommandError::failed("stopped at once by a second signal")),
        () = watch_file(source.and_then(SettingsSource::watched), is_outdated, reload_settings) => Ok(()),
    }
}

/// Where the settings of a running server are loaded from again.
pub(super) struct SettingsSource {
    arguments: settings::Arguments,
    file: Option<PathBuf>,
    check_every: Duration,
}

impl SettingsSource {
    /// Returns the file, and how often it is checked; none if there is no file.
    fn watched(&self) -> Option<(&Path, Duration)> {
        self.file.as_deref().map(|file| (file, self.check_every))
    }
}

/// Calls `reload` whenever the settings file has changed and then stays the same for one interval, so
/// that a file that is being written is not read. Repeats that while what it has `is_outdated`: a file
/// that it names may appear, or the audit sink recover. Never returns.
async fn watch_file(
    watched: Option<(&Path, Duration)>,
    is_outdated: impl Fn() -> bool,
    reload: impl Fn(bool),
) {
    let Some((file, check_every)) = watched else { return pending().await };
    let mut loaded = fs::read(file).ok();
    let mut last = loaded.clone();
    loop {
        sleep(check_every).await;
        let contents = fs::read(file).ok();
        let is_repeated = contents == loaded;
        if contents.is_some() && contents == last && (!is_repeated || is_outdated()) {
            loaded.clone_from(&contents);
            reload(is_repeated);
        }
        last = contents;
    }
}

pub(super) struct Signals {
    hang_up: Signal,
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            hang_up: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for the next signal to stop, and calls `reload` on each SIGHUP. Cancel safe: no signal
    /// is lost.
    async fn stop(&mut self, reload: impl Fn()) {
        loop {
            tokio::select! {
                _ = self.hang_up.recv() => reload(),
                _ = self.interrupt.recv() => return,
                _ = self.terminate.recv() => return,
            }
        }
    }
}

const SAME_STOP: Duration = Duration::from_secs(1);
// Less than systemd's timeout for a start, which is 90 s.
const PATIENCE: Duration = Duration::from_secs(60);
const RETRY_DELAY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_refused_file_is_loaded_again_until_it_is_in_use() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("settings.toml");
        fs::write(&file, "one").unwrap();
        let (reloads, outdated) = (RefCell::new(Vec::new()), Cell::new(false));
        let reload = |is_repeated| reloads.borrow_mut().push(is_repeated);
        let watching = watch_file(Some((&file, Duration::from_secs(1))), || outdated.get(), reload);
        let changing = async {
            sleep(Duration::from_millis(2_500)).await;
            assert!(reloads.borrow().is_empty(), "nothing has changed");
            fs::write(&file, "two").unwrap();
            outdated.set(true);
            sleep(Duration::from_secs(4)).await;
            assert_eq!(*reloads.borrow(), [false, true, true]);
            outdated.set(false);
            sleep(Duration::from_secs(4)).await;
            assert_eq!(reloads.borrow().len(), 3, "it is in use");
        };
        tokio::select! {
            () = watching => {}
            () = changing => {}
        }
    }
}
