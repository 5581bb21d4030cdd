//! The options of the `sandbox` command.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, ValueEnum, value_parser};
use cognito_standin::Scenario;
use tracing::warn;

use super::control::Control;

/// The options of the `sandbox` command.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Arguments {
    /// A command to a sandbox that runs; none to run one.
    #[command(subcommand)]
    pub control: Option<Control>,
    /// The loopback address to serve on
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:50051")]
    pub(super) listen: SocketAddr,
    /// The loopback address for probes and metrics
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9090")]
    pub(super) admin_listen: SocketAddr,
    /// The loopback address of the Cognito emulator, which is also the control port
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9229")]
    pub(super) cognito: SocketAddr,
    /// The URL by which others reach the emulator, such as `http://sandbox:9229`; tokens have it as
    /// their issuer [default: the address]
    #[arg(long, value_name = "URL")]
    pub(super) cognito_url: Option<String>,
    /// Allow other addresses than loopback. Everyone who can connect can mint tokens and read the users
    #[arg(long)]
    pub(super) allow_remote: bool,
    /// Let callers on this machine read any user by `sub` and administer, without a credential
    #[arg(long)]
    pub(super) loopback_caller: bool,
    /// A JSON file of the users to start with, instead of Ada, Grace and Bob
    #[arg(long, value_name = "FILE")]
    pub(super) users: Option<PathBuf>,
    /// Let Cognito fail from the start: throttle, outage, slow, hang, error, denied or no-keys
    #[arg(long, value_name = "FAULT")]
    pub(super) fault: Option<Scenario>,
    /// What to print at the start: text to paste, or one JSON document with addresses and tokens
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub output: Output,
    /// The number of replicas, each a whole server, on consecutive ports from --listen and
    /// --admin-listen on
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = value_parser!(u16).range(1..=16))]
    pub(super) replicas: u16,
    /// The Valkey or Redis server through which the replicas share their caches, such as
    /// `redis://127.0.0.1:6379`; its keys are made for this process
    #[arg(long, value_name = "URL")]
    pub(super) shared_cache: Option<String>,
}

/// The format of what is printed at the start.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum Output {
    /// Text for people, with commands to paste.
    #[default]
    Text,
    /// One JSON document on one line.
    Json,
}

impl Arguments {
    /// Returns the addresses to listen on that other machines may reach.
    pub(super) fn remote_addresses(&self) -> impl Iterator<Item = SocketAddr> {
        [self.listen, self.admin_listen, self.cognito]
            .into_iter()
            .filter(|address| !address.ip().is_loopback())
    }

    /// Logs a warning if other machines may reach the sandbox.
    pub fn log_warnings(&self) {
        for address in self.remote_addresses() {
            warn!(%address, "--allow-remote: everyone who can connect can mint tokens and read the users");
        }
    }
}
