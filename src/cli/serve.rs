//! `serve` and `sandbox`: serves until the process is told to stop.

use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

use super::{Exit, settings};
use crate::{config::Config, server, telemetry};

/// Serves with the settings of flags, environment and file.
pub(super) async fn run(arguments: settings::Arguments) -> Result<(), Exit> {
    let config = arguments.load()?;
    telemetry::start(&config.log);
    // Before the port is bound, so that a faulty start never takes it.
    server::check(&config).map_err(Exit::faulty)?;
    serve(config).await
}

/// Serves people who do not exist.
#[cfg(feature = "sandbox")]
pub(super) async fn sandbox(arguments: crate::sandbox::Arguments) -> Result<(), Exit> {
    use crate::sandbox::Sandbox;

    let sandbox = Sandbox::start(&arguments).map_err(Exit::misused)?;
    let mut config = sandbox.config();
    telemetry::start(&config.log);
    let listener = bind(&config).await?;
    config.listen = listener.local_addr().map_err(Exit::failed)?;
    super::say(sandbox.banner(config.listen))?;
    serve_on(config, listener).await
}

async fn serve(config: Config) -> Result<(), Exit> {
    let listener = bind(&config).await?;
    serve_on(config, listener).await
}

async fn bind(config: &Config) -> Result<TcpListener, Exit> {
    TcpListener::bind(config.listen)
        .await
        .map_err(|error| Exit::failed(format_args!("cannot listen on {}: {error}", config.listen)))
}

async fn serve_on(config: Config, listener: TcpListener) -> Result<(), Exit> {
    let mut terminated = signal(SignalKind::terminate()).map_err(Exit::failed)?;
    let mut interrupted = signal(SignalKind::interrupt()).map_err(Exit::failed)?;
    let shutdown = async move {
        tokio::select! {
            _ = terminated.recv() => {}
            _ = interrupted.recv() => {}
        }
    };
    server::run(config, listener, shutdown).await.map_err(Exit::failed)
}
