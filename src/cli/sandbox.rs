//! `sandbox`: serve with an emulated Cognito, or control a sandbox that does.

use super::{
    CommandError, print_line,
    serve::{self, Signals},
};
use crate::{
    config::LogSettings,
    sandbox::{Arguments, Control, ControlError, Error, Sandbox},
    server::{Listeners, Server},
    telemetry,
};

/// Serves until a signal ends the process, or runs a command to another sandbox.
pub(super) async fn run(arguments: Arguments) -> Result<(), CommandError> {
    match arguments.control {
        Some(control) => call(control).await,
        None => serve(&arguments).await,
    }
}

async fn call(control: Control) -> Result<(), CommandError> {
    let answer = control.run().await.map_err(|error| match error {
        ControlError::Unreachable(..) => CommandError::unreachable(error),
        ControlError::Refused(_) => CommandError::usage(error),
    })?;
    answer.map_or(Ok(()), print_line)
}

/// Serves with one server, or with several as replicas of each other.
async fn serve(arguments: &Arguments) -> Result<(), CommandError> {
    let signals = Signals::new().map_err(CommandError::failed)?;
    let sandbox = Sandbox::start(arguments).map_err(|error| match error {
        Error::Keys(_) | Error::Listener(..) => CommandError::failed(error),
        Error::NoPort(_) | Error::NotLoopback(_) | Error::UsersFile(..) => CommandError::usage(error),
    })?;
    let _telemetry = telemetry::start(&LogSettings::default());
    arguments.log_warnings();
    let (mut servers, mut replicas) = (Vec::new(), Vec::new());
    for config in sandbox.configs() {
        let server = Server::read(config.clone()).map_err(CommandError::config)?;
        let listeners = Listeners::bind(&config).await.map_err(CommandError::failed)?;
        let (grpc, admin) = (listeners.grpc(), listeners.admin());
        replicas.push((grpc.map_err(CommandError::failed)?, admin.map_err(CommandError::failed)?));
        servers.push((server, listeners));
    }
    print_line(sandbox.greeting(arguments.output, &replicas))?;
    tokio::select! {
        ended = serve::serve(signals, servers, None) => ended,
        () = sandbox.serve_control(&replicas) => Ok(()),
    }
}
