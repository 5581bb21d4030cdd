//! `audit-hash`: what stands for a person in the audit records, so that they can be found.

use std::path::PathBuf;

use clap::Args;

use super::{CommandError, client, print_line};
use crate::{
    audit,
    config::{Config, ErrorCollector, Sources},
    pool::{PoolId, Pools},
};

/// Whose records to look for.
#[derive(Args, Debug)]
#[command(after_help = "The records of a person: grep -F \"$(cognito-lookup audit-hash SUB)\" audit.jsonl")]
pub(super) struct Arguments {
    /// The person's sub; `-` reads it from standard input, where no list of processes shows it
    sub: String,
    /// The person's pool [default: every pool of the settings, a line each in their order]
    #[arg(long, value_name = "ID")]
    user_pool_id: Option<PoolId>,
    /// The settings file, in TOML
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Prints one hash a line.
pub(super) fn run(arguments: Arguments) -> Result<(), CommandError> {
    let config =
        Config::load(Sources::from_process(arguments.config, Vec::new())).map_err(CommandError::config)?;
    let mut errors = ErrorCollector::new(&config);
    let read = Pools::read(&config, &mut errors).zip(audit::read_key(&config, &mut errors));
    let (pools, key) = errors.finish(read).map_err(CommandError::config)?;
    let sub = client::parse_sub(&arguments.sub)?;
    let asked = |id: &PoolId| arguments.user_pool_id.as_ref().is_none_or(|asked| asked == id);
    let ids: Vec<_> = pools.iter().map(|pool| &pool.id).filter(|id| asked(id)).collect();
    if ids.is_empty() {
        return Err(CommandError::usage("--user-pool-id names no pool of the settings"));
    }
    ids.into_iter().try_for_each(|id| print_line(key.hash(id, &sub)))
}
