//! `completions` and `man`: generated from the definitions of the commands.

use std::{
    io::{self, Write as _},
    path::PathBuf,
};

use clap::{Args, Command};
use clap_mangen::Man;

use super::CommandError;

/// The shell to generate for.
#[derive(Args, Debug)]
pub(super) struct Shell {
    /// The shell to print the script for
    shell: clap_complete::Shell,
}

/// Where to write the pages.
#[derive(Args, Debug)]
pub(super) struct Directory {
    /// The directory for a page of each command [default: the main page to standard output]
    directory: Option<PathBuf>,
}

/// Prints the completion script.
pub(super) fn completions(shell: &Shell, mut command: Command) -> Result<(), CommandError> {
    let mut script = Vec::new();
    clap_complete::generate(shell.shell, &mut command, "cognito-lookup", &mut script);
    io::stdout().write_all(&script).map_err(CommandError::output)
}

/// Prints or writes the pages.
pub(super) fn man(directory: &Directory, command: Command) -> Result<(), CommandError> {
    match &directory.directory {
        Some(directory) => clap_mangen::generate_to(command, directory).map_err(CommandError::failed),
        None => Man::new(command).render(&mut io::stdout()).map_err(CommandError::output),
    }
}
