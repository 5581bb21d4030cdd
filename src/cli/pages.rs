//! `completions` and `man`: what shells and readers need, from the same definitions that the commands are read by.

use std::{
    io::{self, Write as _},
    path::PathBuf,
};

use clap::{Args, Command};
use clap_mangen::Man;

use super::CommandError;

/// For which shell.
#[derive(Args, Debug)]
pub(super) struct Shell {
    /// The shell
    shell: clap_complete::Shell,
}

/// Where to.
#[derive(Args, Debug)]
pub(super) struct Folder {
    /// The folder to write a page for each command into [default: the main page to standard output]
    folder: Option<PathBuf>,
}

/// Prints the completions.
pub(super) fn completions(shell: &Shell, mut command: Command) -> Result<(), CommandError> {
    let mut script = Vec::new();
    clap_complete::generate(shell.shell, &mut command, "cognito-lookup", &mut script);
    io::stdout().write_all(&script).map_err(CommandError::failed)
}

/// Prints or writes the pages.
pub(super) fn man(folder: &Folder, command: Command) -> Result<(), CommandError> {
    match &folder.folder {
        Some(folder) => clap_mangen::generate_to(command, folder).map_err(CommandError::failed),
        None => Man::new(command).render(&mut io::stdout()).map_err(CommandError::failed),
    }
}
