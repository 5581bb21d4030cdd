//! Measures the service under load against two peers: `cargo bench --bench serve`.
//! `benches/README.md` describes it.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench fails by panicking and prints its measurements"
)]

mod batch;
mod client;
mod certificates;
mod connection;
mod comparison;
mod synthetic_cognito;
mod measurements;
mod first_call;
mod h2load;
mod hits;
mod load;
mod machine;
mod million;
mod call;
mod scale;
mod server;
mod settings;
mod target;
mod outcome;
mod peer;
mod table;
mod ab_comparison;
mod watchers;

use std::path::PathBuf;

use clap::Parser;
use cognito_standin::{Pool, StandIn};

use self::{call::Call, load::Effort, peer::Peer, table::Row};

/// Measures requests per second, CPU and latency of the service.
#[derive(Parser)]
struct Arguments {
    /// Runs only the scenarios whose name contains one of these.
    scenarios: Vec<String>,
    /// Runs few and short rounds, to check that the bench works.
    #[arg(long)]
    quick: bool,
    /// Serves as the peer that this file describes.
    #[arg(long, hide = true, value_name = "FILE")]
    peer: Option<PathBuf>,
    /// cargo passes this to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What the scenarios share.
struct Bench {
    cognito: StandIn,
    effort: Effort,
}

impl Bench {
    /// Returns the `GetUser` by `sub` that most scenarios use.
    fn ada(&self) -> Call {
        Call::by_sub(&self.cognito.user("ada").unwrap().sub)
    }

    /// Returns how many lookups of users Cognito has received.
    fn lookups(&self) -> usize {
        self.cognito.calls("AdminGetUser") + self.cognito.calls("ListUsers")
    }
}

fn main() {
    let Arguments { scenarios, quick, peer, .. } = Arguments::parse();
    if let Some(file) = peer {
        return Peer::serve(&file);
    }
    let effort = if quick { Effort::QUICK } else { Effort::FULL };
    let machine = machine::describe();
    println!("{machine}\n{}", effort.describe());
    let bench = Bench { cognito: StandIn::start(Pool::sandbox()).unwrap(), effort };
    let chosen = |name: &str| scenarios.is_empty() || scenarios.iter().any(|part| name.contains(part));
    let chosen = SCENARIOS.iter().filter(|(name, _)| chosen(name));
    let rows: Vec<Row> = chosen.flat_map(|(_, run)| run(&bench)).collect();
    assert!(!rows.is_empty(), "no scenario has such a name");
    table::print(&rows);
    println!("\n{machine}");
}

/// Runs a scenario and returns its rows of the final table.
type Scenario = fn(&Bench) -> Vec<Row>;

const SCENARIOS: [(&str, Scenario); 12] = [
    ("naive", hits::by_token_naive),
    ("naive-700", hits::by_short_token_naive),
    ("token", hits::by_token),
    ("token-700", hits::by_short_token),
    ("sub", hits::by_sub),
    ("mtls", hits::by_certificate),
    ("first", first_call::first_call),
    ("batch", batch::batch),
    ("workers", scale::workers),
    ("idle", scale::idle),
    ("watchers", watchers::watchers),
    ("million", million::million),
];
