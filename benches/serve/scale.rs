//! The effect of a second worker, and of many idle connections.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::{
    Bench,
    ab_comparison::AbComparison,
    client::LoadClient,
    server::Server,
    settings::Settings,
    table::{Goal, Row},
};

/// Compares two workers with one.
pub(crate) fn workers(bench: &Bench) -> Vec<Row> {
    let [one, two] =
        [1, 2].map(|workers| Server::ours(&Settings { workers, ..Settings::before(&bench.cognito) }));
    let title = "GetUser by sub: two workers against one".to_owned();
    let comparison =
        AbComparison { title, servers: [("1 worker", &one), ("2 workers", &two)], is_paced: false };
    let [rates, cpus, _] = comparison.run(bench).ratios;
    vec![
        Row::ratio("2 workers to 1: requests/s".to_owned(), Goal::Unset, &rates),
        Row::ratio("2 workers to 1: CPU/request".to_owned(), Goal::Unset, &cpus),
    ]
}

/// Compares a server that has idle connections with one that has none.
pub(crate) fn idle(bench: &Bench) -> Vec<Row> {
    allow_files();
    let settings = Settings { connections: 2 * IDLE, ..Settings::before(&bench.cognito) };
    let [without, with] = [&settings; 2].map(Server::ours);
    let before = with.memory();
    let mut held = LoadClient::connect(with.address, IDLE, None);
    held.ping();
    assert_eq!(with.metric("cognito_lookup_connections{"), IDLE);
    let bytes = with.memory().saturating_sub(before) / IDLE;
    let title = format!("GetUser by sub: {IDLE} idle connections held, of {bytes} bytes, against none");
    let comparison =
        AbComparison { title, servers: [("none", &without), ("all of them", &with)], is_paced: true };
    let [_, cpus, p99s] = comparison.run(bench).ratios;
    held.ping();
    vec![
        Row::ratio(format!("{IDLE} idle connections to none: CPU/request"), Goal::Unset, &cpus),
        Row::ratio(format!("{IDLE} idle connections to none: p99"), Goal::Unset, &p99s),
    ]
}

/// Raises the limit of open files to the maximum, for this process and the servers it starts.
fn allow_files() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    assert!(maximum.is_none_or(|maximum| maximum >= FILES), "ulimit -Hn must be {FILES} at least");
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
}

const IDLE: usize = 10_000;
// The idle connections, those of the load, and what a server reserves.
const FILES: u64 = 11_000;
