//! `serve` and `sandbox`: serve until a signal ends the process.

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
};

use super::{CommandError, settings};
use crate::{
    server::{Listeners, Reloader, Server},
    telemetry,
};

/// Serves with the settings of flags, environment and file.
pub(super) async fn run(arguments: settings::Arguments) -> Result<(), CommandError> {
    let config = arguments.load()?;
    let _telemetry = telemetry::start(&config.log);
    // Before the ports are bound, so that a start with wrong settings never takes them.
    let server = Server::read(config.clone()).map_err(CommandError::config)?;
    serve(server, Listeners::bind(&config).await.map_err(CommandError::failed)?).await
}

/// Serves with an emulated Cognito.
#[cfg(feature = "sandbox")]
pub(super) async fn sandbox(arguments: crate::sandbox::Arguments) -> Result<(), CommandError> {
    use crate::sandbox::{Error, Sandbox};

    let sandbox = Sandbox::start(&arguments).map_err(|error| match error {
        Error::Listener(..) => CommandError::failed(error),
        Error::NotLoopback(_) | Error::UsersFile(..) => CommandError::usage(error),
    })?;
    let config = sandbox.config();
    let _telemetry = telemetry::start(&config.log);
    let listeners = Listeners::bind(&config).await.map_err(CommandError::failed)?;
    super::print_line(sandbox.banner(&listeners).map_err(CommandError::failed)?)?;
    serve(Server::read(config).map_err(CommandError::config)?, listeners).await
}

/// Drains on the first SIGTERM or SIGINT and stops at once on the second. SIGHUP reloads the files.
async fn serve(server: Server, listeners: Listeners) -> Result<(), CommandError> {
    let mut signals = Signals::new(server.reloader()).map_err(CommandError::failed)?;
    let (stop, stopped) = oneshot::channel::<()>();
    let signalled = async {
        signals.next().await;
        drop(stop);
        signals.next().await;
    };
    tokio::select! {
        ended = server.serve(listeners, async { drop(stopped.await) }) => ended.map_err(CommandError::failed),
        () = signalled => Err(CommandError::failed("stopped at once by a second signal")),
    }
}

struct Signals {
    hang_up: Signal,
    interrupt: Signal,
    reloader: Reloader,
    terminate: Signal,
}

impl Signals {
    fn new(reloader: Reloader) -> std::io::Result<Self> {
        Ok(Self {
            hang_up: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            reloader,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for the next signal to stop. Cancel safe: no signal is lost.
    async fn next(&mut self) {
        loop {
            tokio::select! {
                _ = self.hang_up.recv() => self.reloader.reload(),
                _ = self.interrupt.recv() => return,
                _ = self.terminate.recv() => return,
            }
        }
    }
}
