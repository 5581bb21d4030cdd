//! `audit-hash`: the hashes of a user's sub in the audit records.

use std::path::PathBuf;

use clap::Args;

use super::{CommandError, client, print_line};
use crate::{
    audit,
    config::{Config, ErrorCollector, Sources},
    pool::{PoolId, Pools},
};

/// The user, and the settings with the key.
#[derive(Args, Debug)]
#[command(
    after_help = "To find the records of a user: grep -F \"$(cognito-lookup audit-hash SUB)\" audit.jsonl"
)]
pub(super) struct Arguments {
    /// The user's sub; `-` reads it from standard input, which process lists do not show
    sub: String,
    /// The user's pool [default: every pool of the settings, one line each in their order]
    #[arg(long, value_name = "ID")]
    user_pool_id: Option<PoolId>,
    /// The settings file, in TOML
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Prints one hash a line: under the current key, then under that of earlier records.
pub(super) fn run(arguments: Arguments) -> Result<(), CommandError> {
    let config =
        Config::load(Sources::from_process(arguments.config, Vec::new())).map_err(CommandError::config)?;
    let mut errors = ErrorCollector::new(&config);
    let read = Pools::read(&config, &mut errors).zip(audit::read_keys(&config, &mut errors));
    let (pools, keys) = errors.finish(read).map_err(CommandError::config)?;
    let sub = client::parse_sub(&arguments.sub)?;
    let is_selected = |id: &PoolId| arguments.user_pool_id.as_ref().is_none_or(|only| only == id);
    let ids: Vec<_> = pools.iter().map(|pool| &pool.id).filter(|id| is_selected(id)).collect();
    if ids.is_empty() {
        return Err(CommandError::usage("--user-pool-id is not a pool of the settings"));
    }
    keys.iter().flat_map(|key| ids.iter().map(|id| key.hash(id, &sub))).try_for_each(print_line)
}
