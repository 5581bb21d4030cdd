//! More workers, and more connections.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::{
    Bench,
    callers::Callers,
    server::Server,
    settings::Settings,
    table::{Goal, Row},
    twins::Twins,
};

/// Two workers against one.
pub(crate) fn workers(bench: &Bench) -> Vec<Row> {
    let [one, two] =
        [1, 2].map(|workers| Server::ours(&Settings { workers, ..Settings::before(&bench.cognito) }));
    let title = "GetUser by sub: two workers against one".to_owned();
    let twins = Twins { title, servers: [("1 worker", &one), ("2 workers", &two)], is_paced: false };
    let [rates, cpus, _] = twins.held(bench).ratios;
    vec![
        Row::ratio("2 workers to 1: requests/s".to_owned(), Goal::Told, &rates),
        Row::ratio("2 workers to 1: CPU/request".to_owned(), Goal::Told, &cpus),
    ]
}

/// Connections over which nothing is asked, against none.
pub(crate) fn idle(bench: &Bench) -> Vec<Row> {
    allow_files();
    let settings = Settings { connections: 2 * IDLE, ..Settings::before(&bench.cognito) };
    let [without, with] = [&settings; 2].map(Server::ours);
    let before = with.memory();
    let mut held = Callers::connect(with.address, IDLE, None);
    held.ping();
    assert_eq!(with.metric("cognito_lookup_connections{"), IDLE);
    let bytes = with.memory().saturating_sub(before) / IDLE;
    let title = format!("GetUser by sub: {IDLE} idle connections held, of {bytes} bytes, against none");
    let twins = Twins { title, servers: [("none", &without), ("all of them", &with)], is_paced: true };
    let [_, cpus, p99s] = twins.held(bench).ratios;
    held.ping();
    vec![
        Row::ratio(format!("{IDLE} idle connections to none: CPU/request"), Goal::Told, &cpus),
        Row::ratio(format!("{IDLE} idle connections to none: p99"), Goal::Told, &p99s),
    ]
}

/// As many as the system lets us have, and so the servers too.
fn allow_files() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    assert!(maximum.is_none_or(|maximum| maximum >= FILES), "ulimit -Hn must be {FILES} at least");
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
}

const IDLE: usize = 10_000;
// Beside them the load's, and what a server keeps free.
const FILES: u64 = 11_000;
