//! The command line: which command, with what, and the exit code it ends with.

mod audit_hash;
mod client;
mod get;
mod healthcheck;
mod serve;
mod settings;

use std::{
    fmt::Display,
    io::{self, Write as _},
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use tokio::runtime;

use crate::config::Faults;

/// Runs the command the process was started with. Exit codes: 0 done, 1 failed, 2 wrong usage or settings, 3 no
/// connection or a failed call, 4 not serving.
pub fn run() -> ExitCode {
    let command = Cli::parse().command;
    let runtime = match runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return ended(Err(Exit::failed(error))),
    };
    let code = ended(runtime.block_on(command.run()));
    // Not dropped, which would wait for name look-ups that nobody waits for any more.
    runtime.shutdown_background();
    code
}

fn ended(outcome: Result<(), Exit>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Exit { code, message }) => {
            // Nobody is left to tell if standard error is closed.
            drop(writeln!(io::stderr(), "cognito-lookup: {message}"));
            ExitCode::from(code)
        }
    }
}

/// Looks up the attributes of users of an Amazon Cognito user pool, over gRPC.
#[derive(Debug, Parser)]
#[command(name = "cognito-lookup", version, arg_required_else_help = true, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the gRPC API; settings come from flags, the environment (`COGNITO_LOOKUP_…`) and a file, in this order
    Serve(settings::Arguments),
    /// Try the service with an embedded Cognito stand-in; not for production
    #[cfg(feature = "sandbox")]
    Sandbox(crate::sandbox::Arguments),
    /// Ask a running service for one user
    Get(get::Arguments),
    /// Ask a running service whether it is serving (exit code 3: no answer, 4: it is not)
    Healthcheck(healthcheck::Arguments),
    /// Print what stands for a person in the audit records
    AuditHash(audit_hash::Arguments),
    /// Look at the settings without serving
    #[command(subcommand)]
    Config(settings::Command),
    /// Say which version this is
    Version,
}

impl Command {
    async fn run(self) -> Result<(), Exit> {
        match self {
            Self::Serve(arguments) => serve::run(arguments).await,
            #[cfg(feature = "sandbox")]
            Self::Sandbox(arguments) => serve::sandbox(arguments).await,
            Self::Get(arguments) => get::run(arguments).await,
            Self::Healthcheck(arguments) => healthcheck::run(arguments).await,
            Self::AuditHash(arguments) => audit_hash::run(arguments),
            Self::Config(command) => settings::run(command),
            Self::Version => say(format_args!("cognito-lookup {}", env!("CARGO_PKG_VERSION"))),
        }
    }
}

/// How a command failed.
#[derive(Debug)]
struct Exit {
    code: u8,
    message: String,
}

impl Exit {
    fn failed(message: impl Display) -> Self {
        Self { code: 1, message: message.to_string() }
    }

    fn faulty(faults: Faults) -> Self {
        Self::misused(format_args!("the settings are wrong:\n{faults}"))
    }

    fn misused(message: impl Display) -> Self {
        Self { code: 2, message: message.to_string() }
    }

    fn not_called(message: impl Display) -> Self {
        Self { code: 3, message: message.to_string() }
    }

    fn not_serving(message: impl Display) -> Self {
        Self { code: 4, message: message.to_string() }
    }
}

/// Writes a line to standard output.
fn say(line: impl Display) -> Result<(), Exit> {
    writeln!(io::stdout(), "{line}").map_err(Exit::failed)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn every_command_is_well_formed() {
        Cli::command().debug_assert();
    }
}
