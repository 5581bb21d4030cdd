//! `serve` and `sandbox`: serves until the process is told to stop.

use std::net::SocketAddr;

use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
};

use super::{Exit, settings};
use crate::{server::Server, telemetry};

/// Serves with the settings of flags, environment and file.
pub(super) async fn run(arguments: settings::Arguments) -> Result<(), Exit> {
    let config = arguments.load()?;
    telemetry::start(&config.log);
    let address = config.listen;
    // Before the port is bound, so that a faulty start never takes it.
    let server = Server::read(config).map_err(Exit::faulty)?;
    serve(server, bind(address).await?).await
}

/// Serves people who do not exist.
#[cfg(feature = "sandbox")]
pub(super) async fn sandbox(arguments: crate::sandbox::Arguments) -> Result<(), Exit> {
    use crate::sandbox::{Error, Sandbox};

    let sandbox = Sandbox::start(&arguments).map_err(|error| match error {
        Error::Listener(..) => Exit::failed(error),
        Error::Exposed(_) | Error::File(..) | Error::People(..) => Exit::misused(error),
    })?;
    let config = sandbox.config();
    telemetry::start(&config.log);
    let listener = bind(config.listen).await?;
    super::say(sandbox.banner(listener.local_addr().map_err(Exit::failed)?))?;
    serve(Server::read(config).map_err(Exit::faulty)?, listener).await
}

async fn bind(address: SocketAddr) -> Result<TcpListener, Exit> {
    let bound = TcpListener::bind(address).await;
    bound.map_err(|error| {
        Exit::failed(format_args!("cannot listen on {address}: {error}; choose another with --listen"))
    })
}

/// Drains on the first SIGTERM or SIGINT, and ends at once on the second.
async fn serve(server: Server, listener: TcpListener) -> Result<(), Exit> {
    let mut signals = Signals::new().map_err(Exit::failed)?;
    let (stop, stopped) = oneshot::channel::<()>();
    let signalled = async {
        signals.next().await;
        drop(stop);
        signals.next().await;
    };
    tokio::select! {
        ended = server.serve(listener, async { drop(stopped.await) }) => ended.map_err(Exit::failed),
        () = signalled => Err(Exit::failed("cut short by a second signal")),
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
