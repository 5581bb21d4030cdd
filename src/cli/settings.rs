//! The flags that set settings, and the commands that check, print and describe them.

use std::{collections::BTreeMap, path::PathBuf};

use bytesize::ByteSize;
use clap::{Args, Subcommand};

use super::{CommandError, print_line, report};
use crate::{
    config::{self, Config, ConfigErrors, ErrorCollector, Flag, Sources},
    pool::{Pool, Pools},
    server::{Server, Warning},
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
    pub(super) fn load(&self) -> Result<Config, ConfigErrors> {
        Config::load(self.sources())
    }

    /// As [`Self::load`], for a container with this memory limit in bytes.
    fn load_for(&self, memory_limit: Option<u64>) -> Result<Config, ConfigErrors> {
        let sources = self.sources();
        Config::load(Sources { memory_limit: memory_limit.or(sources.memory_limit), ..sources })
    }

    fn sources(&self) -> Sources {
        let flags = [
            ("listen", "--listen", &self.listen),
            ("admin_listen", "--admin-listen", &self.admin_listen),
            ("user_pool_id", "--user-pool-id", &self.user_pool_id),
            ("app_clients", "--app-clients", &self.app_clients),
            ("attributes", "--attributes", &self.attributes),
            ("log.level", "--log-level", &self.log_level),
            ("log.format", "--log-format", &self.log_format),
        ];
        let given = flags
            .into_iter()
            .filter_map(|(key, name, value)| Some(Flag { key, name, value: value.clone()? }));
        Sources::from_process(self.config.clone(), given.collect())
    }
}

/// The `config` commands.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Check the settings: report every error (exit code 2), and warn of what is valid but unwise
    Check(Check),
    /// Print every setting with its value and its source, as a TOML file
    Print(Arguments),
    /// Print the JSON Schema of the settings file, for editors
    Schema,
}

/// The settings to check.
#[derive(Args, Debug)]
pub(super) struct Check {
    /// Fail on warnings too (exit code 2), except on those of defaults, of callers on loopback, of a pool without an account and of rates above the default quota
    #[arg(long)]
    strict: bool,
    /// Check that the caches and threads fit in a container with this memory limit, such as 512MiB [default: that of this process]
    #[arg(long, value_name = "SIZE")]
    memory: Option<ByteSize>,
    #[command(flatten)]
    settings: Arguments,
}

/// Checks or prints the settings that `serve` would use with the same flags.
pub(super) fn run(command: Command) -> Result<(), CommandError> {
    match command {
        Command::Check(arguments) => check(&arguments),
        Command::Print(arguments) => print(&arguments).map_err(CommandError::config)?,
        Command::Schema => print_line(config::schema()),
    }
}

fn check(Check { strict, memory, settings }: &Check) -> Result<(), CommandError> {
    let memory_limit = memory.map(|size| size.as_u64());
    let server = settings.load_for(memory_limit).and_then(Server::read).map_err(CommandError::config)?;
    let warnings = server.warnings();
    for warning in &warnings {
        report(&format!("warning: {warning}"));
    }
    if *strict && warnings.iter().any(Warning::fails_strict_check) {
        return Err(CommandError::usage("the settings are valid but unwise"));
    }
    print_line("the settings are valid")
}

/// Prints the settings. A file that they name need not exist on this machine.
fn print(arguments: &Arguments) -> Result<Result<(), CommandError>, ConfigErrors> {
    let config = arguments.load()?;
    if let Err(errors) = Server::read(config.clone())
        && !errors.may_pass()
    {
        return Err(errors);
    }
    Ok(print_line(config.to_toml(&derived(&config)).trim_end()))
}

/// Returns the values that follow from others, for keys that are not set.
fn derived(config: &Config) -> BTreeMap<String, (String, &'static str)> {
    let pools = Pools::read(config, &mut ErrorCollector::new(config));
    let pools = pools.iter().flat_map(Pools::iter).enumerate();
    let values = pools.flat_map(|(n, pool)| {
        let Pool { issuers, jwks_url, region, account, .. } = &**pool;
        let key = move |name| format!("pools[{n}].{name}");
        let issuer = issuers.first().map(|issuer| (key("issuer"), (issuer.clone(), "region and id")));
        let account = account.clone().map(|account| (key("account"), (account, "role_arn")));
        let region = (key("region"), (region.clone(), "id"));
        [region, (key("jwks_url"), (jwks_url.to_string(), "issuer"))].into_iter().chain(issuer).chain(account)
    });
    values.collect()
}
