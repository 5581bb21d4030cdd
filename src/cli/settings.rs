//! The flags that set settings, and the commands that check, print and describe them.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{CommandError, print_line};
use crate::{
    config::{self, Config, Flag, Setting, Sources},
    server::Server,
};

/// The sources of the settings: a flag wins over the environment, the environment over the file.
#[derive(Args, Debug)]
#[group(id = "settings")]
#[command(next_help_heading = "Settings")]
pub(super) struct Arguments {
    /// The settings file, in TOML
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The address to serve on, or unix: and the path of a socket [default: 127.0.0.1:50051]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// The address and port of probes and metrics [default: 127.0.0.1:9090]
    #[arg(long, value_name = "ADDRESS")]
    admin_listen: Option<String>,
    /// The id of a single user pool, such as eu-west-1_AbCdEfGhI
    #[arg(long, value_name = "ID")]
    user_pool_id: Option<String>,
    /// The app clients of the pool whose access tokens are accepted, separated by commas
    #[arg(long, value_name = "IDS")]
    app_clients: Option<String>,
    /// The attributes of the token's user that those app clients may read, separated by commas
    #[arg(long, value_name = "NAMES")]
    attributes: Option<String>,
    /// The least severe level that is logged: error, warn, info, debug or trace [default: info]
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// The format of a log line: console, json, or auto: console on a terminal [default: auto]
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
}

impl Arguments {
    /// Loads the settings from flags, environment and file.
    pub(super) fn load(self) -> Result<Config, CommandError> {
        let flags = [
            ("listen", "--listen", self.listen),
            ("admin_listen", "--admin-listen", self.admin_listen),
            ("user_pool_id", "--user-pool-id", self.user_pool_id),
            ("app_clients", "--app-clients", self.app_clients),
            ("attributes", "--attributes", self.attributes),
            ("log.level", "--log-level", self.log_level),
            ("log.format", "--log-format", self.log_format),
        ];
        let given =
            flags.into_iter().filter_map(|(key, name, value)| Some(Flag { key, name, value: value? }));
        Config::load(Sources::from_process(self.config, given.collect())).map_err(CommandError::config)
    }
}

/// The `config` commands.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Check the settings and report every error (exit code 2)
    Check(Arguments),
    /// Print every setting with its value and its source
    Print(Arguments),
    /// Print the JSON Schema of the settings file, for editors
    Schema,
}

/// Checks or prints the settings that `serve` would use with the same flags.
pub(super) fn run(command: Command) -> Result<(), CommandError> {
    match command {
        Command::Check(arguments) => {
            Server::read(arguments.load()?).map_err(CommandError::config)?;
            print_line("the settings are valid")
        }
        Command::Print(arguments) => {
            let config = arguments.load()?.validated().map_err(CommandError::config)?;
            let line = |setting: Setting| {
                print_line(format_args!("{} = {}  # {}", setting.key, setting.value, setting.value_source))
            };
            config.settings().into_iter().try_for_each(line)
        }
        Command::Schema => print_line(config::schema()),
    }
}
