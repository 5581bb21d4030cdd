//! The command line: which command, with what, and the exit code it ends with.

mod admin;
mod audit_hash;
mod batch;
mod client;
mod error;
mod get;
mod healthcheck;
mod pages;
mod print;
mod serve;
mod settings;
mod token;

use std::{
    fmt::Display,
    io::{self, Write as _},
    process::ExitCode,
};

use clap::{CommandFactory as _, Parser, Subcommand};
use tokio::runtime;

use self::error::CommandError;

/// Runs the command the process was started with, and returns its exit code, which `--help` explains.
pub fn run() -> ExitCode {
    let command = Cli::parse().command;
    let runtime = match runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return exit_code(Err(CommandError::failed(error))),
    };
    let code = exit_code(runtime.block_on(command.run()));
    // Not dropped, which would wait for name look-ups that nobody waits for any more.
    runtime.shutdown_background();
    code
}

fn exit_code(outcome: Result<(), CommandError>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(CommandError { code, message }) => {
            // Nobody is left to tell if standard error is closed.
            drop(writeln!(io::stderr(), "cognito-lookup: {}", print::sanitized_lines(&message)));
            ExitCode::from(code)
        }
    }
}

/// Looks up the attributes of users of an Amazon Cognito user pool, over gRPC.
#[derive(Debug, Parser)]
#[command(name = "cognito-lookup", version, arg_required_else_help = true, max_term_width = 100, after_help = error::EXIT_CODES)]
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
    /// Ask a running service for many users
    Batch(batch::Arguments),
    /// Ask a running service what it holds of one user, as an administrator
    Inspect(admin::Target),
    /// Have a running service ask Cognito anew for one user, as an administrator
    Expire(admin::Target),
    /// Have a running service forget everything about one user, as an administrator
    Erase(admin::Erase),
    /// Ask a running service what a caller may read of one user, and by which rule, as an administrator
    Explain(admin::Explain),
    /// Look at an access token
    #[command(subcommand)]
    Token(token::Command),
    /// Ask a running service whether it is serving (exit code 3: no answer, 4: it is not)
    Healthcheck(healthcheck::Arguments),
    /// Print what stands for a person in the audit records
    AuditHash(audit_hash::Arguments),
    /// Look at the settings without serving
    #[command(subcommand)]
    Config(settings::Command),
    /// Print the completions for a shell, to be put where that looks for them
    Completions(pages::Shell),
    /// Print the manual page, or write one for each command into a folder
    Man(pages::Folder),
    /// Say which version this is
    Version,
}

impl Command {
    async fn run(self) -> Result<(), CommandError> {
        match self {
            Self::Serve(arguments) => serve::run(arguments).await,
            #[cfg(feature = "sandbox")]
            Self::Sandbox(arguments) => serve::sandbox(arguments).await,
            Self::Get(arguments) => get::run(arguments).await,
            Self::Batch(arguments) => batch::run(arguments).await,
            Self::Inspect(target) => admin::inspect(target).await,
            Self::Expire(target) => admin::expire(target).await,
            Self::Erase(arguments) => admin::erase(arguments).await,
            Self::Explain(arguments) => admin::explain(arguments).await,
            Self::Token(command) => token::run(command).await,
            Self::Healthcheck(arguments) => healthcheck::run(arguments).await,
            Self::AuditHash(arguments) => audit_hash::run(arguments),
            Self::Config(command) => settings::run(command),
            Self::Completions(shell) => pages::completions(&shell, Cli::command()),
            Self::Man(folder) => pages::man(&folder, Cli::command()),
            Self::Version => print_line(format_args!("cognito-lookup {}", env!("CARGO_PKG_VERSION"))),
        }
    }
}

/// Writes a line to standard output.
fn print_line(line: impl Display) -> Result<(), CommandError> {
    writeln!(io::stdout(), "{line}").map_err(CommandError::failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_well_formed() {
        Cli::command().debug_assert();
    }
}
