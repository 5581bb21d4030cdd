//! The command line: the commands, and the exit code that each ends with.

mod admin;
mod audit_hash;
mod batch;
mod client;
mod error;
mod get;
mod healthcheck;
mod pages;
mod print;
mod probe;
mod revoke;
#[cfg(feature = "sandbox")]
mod sandbox;
mod serve;
mod settings;
mod token;
mod watch;

use std::{
    fmt::Display,
    io::{self, Write as _},
    process::ExitCode,
};

use clap::{CommandFactory as _, Parser, Subcommand};
use tokio::runtime;

use self::error::CommandError;

/// Runs the command of the process's arguments and returns its exit code, which `--help` explains.
pub fn run() -> ExitCode {
    let command = Cli::parse().command;
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let outcome = runtime.map_err(CommandError::failed).and_then(|runtime| {
        let outcome = runtime.block_on(command.run());
        // Dropping the runtime would wait for DNS lookups whose callers have timed out.
        runtime.shutdown_background();
        outcome
    });
    let Err(CommandError { code, message }) = outcome else { return ExitCode::SUCCESS };
    if !message.is_empty() {
        report(&message);
    }
    ExitCode::from(code)
}

/// Writes a message to standard error.
fn report(message: &str) {
    // If standard error is closed there is nowhere to report that.
    drop(writeln!(io::stderr(), "cognito-lookup: {}", print::sanitized_lines(message)));
}

/// Look up the attributes of users of an Amazon Cognito user pool, over gRPC.
#[derive(Debug, Parser)]
#[command(name = "cognito-lookup", version, arg_required_else_help = true, max_term_width = 100, after_help = error::EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the gRPC API; settings come from flags, `COGNITO_LOOKUP_…` variables and a file
    Serve(settings::Arguments),
    /// Serve with an emulated Cognito, to try the service; not for production
    #[cfg(feature = "sandbox")]
    Sandbox(crate::sandbox::Arguments),
    /// Look up one user
    Get(get::Arguments),
    /// Look up many users
    Batch(batch::Arguments),
    /// Print which users change, until it is stopped
    Watch(watch::Arguments),
    /// Show what is cached of one user (administrators only)
    Inspect(admin::Target),
    /// Make the next lookup of one user fetch from Cognito (administrators only)
    Expire(admin::Target),
    /// Erase everything that is cached about one user (administrators only)
    Erase(admin::Erase),
    /// Refuse access tokens of one user that were already issued (administrators only)
    Revoke(revoke::Arguments),
    /// Show what a caller may read of one user, and by which rule (administrators only)
    Explain(admin::Explain),
    /// Inspect an access token
    #[command(subcommand)]
    Token(token::Command),
    /// Check whether the service is serving (exit code 3: no answer, 4: not serving)
    Healthcheck(healthcheck::Arguments),
    /// Print the hash that stands for a user in the audit records
    AuditHash(audit_hash::Arguments),
    /// Check, print or describe the settings
    #[command(subcommand)]
    Config(settings::Command),
    /// Print the completion script of a shell
    Completions(pages::Shell),
    /// Print the manual page, or write one for each command into a directory
    Man(pages::Directory),
    /// Print the version
    Version,
}

impl Command {
    async fn run(self) -> Result<(), CommandError> {
        match self {
            Self::Serve(arguments) => serve::run(arguments).await,
            #[cfg(feature = "sandbox")]
            Self::Sandbox(arguments) => sandbox::run(arguments).await,
            Self::Get(arguments) => get::run(arguments).await,
            Self::Batch(arguments) => batch::run(arguments).await,
            Self::Watch(arguments) => watch::run(arguments).await,
            Self::Inspect(target) => admin::inspect(target).await,
            Self::Expire(target) => admin::expire(target).await,
            Self::Erase(arguments) => admin::erase(arguments).await,
            Self::Revoke(arguments) => revoke::run(arguments).await,
            Self::Explain(arguments) => admin::explain(arguments).await,
            Self::Token(command) => token::run(command).await,
            Self::Healthcheck(arguments) => healthcheck::run(arguments).await,
            Self::AuditHash(arguments) => audit_hash::run(arguments),
            Self::Config(command) => settings::run(command),
            Self::Completions(shell) => pages::completions(&shell, Cli::command()),
            Self::Man(directory) => pages::man(&directory, Cli::command()),
            Self::Version => print_line(format_args!("cognito-lookup {}", env!("CARGO_PKG_VERSION"))),
        }
    }
}

/// Writes a line to standard output.
fn print_line(line: impl Display) -> Result<(), CommandError> {
    writeln!(io::stdout(), "{line}").map_err(CommandError::output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_well_formed() {
        Cli::command().debug_assert();
    }
}
