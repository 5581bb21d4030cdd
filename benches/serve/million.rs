//! Cache hits among a million users compared with hits among a thousand, and the memory of a cached
//! user.

use tokio::time::Instant;

use crate::{
    Bench,
    call::{Call, decode},
    client::LoadClient,
    comparison::Comparison,
    load::Load,
    outcome::CONNECTIONS,
    server::Server,
    settings::Settings,
    synthetic_cognito::SyntheticCognito,
    table::{Goal, Row},
    target::Target,
};

/// Fetches all users, then measures hits at random.
pub(crate) fn million(bench: &Bench) -> Vec<Row> {
    let cognito = SyntheticCognito::start(bench.cognito.jwks());
    let settings = settings(bench, &cognito);
    let users = bench.effort.users;
    let [few, many] = [&settings; 2].map(Server::ours);
    fetch(&few, 0, FEW);
    fetch(&many, 0, FEW);
    let (before, begun) = (many.memory(), Instant::now());
    fetch(&many, FEW, users);
    println!("\n{users} users were fetched in {}s", begun.elapsed().as_secs());
    let bytes = many.memory().saturating_sub(before) as f64 / (users - FEW) as f64;
    assert_eq!(cognito.user_reads(), FEW + users);
    let servers = [("few", &few, FEW), ("many", &many, users)];
    let compare = || servers.iter().for_each(|(_, server, users)| compare(server, *users));
    let targets = servers.map(|(name, server, users)| target(bench, name, server, users));
    let title = format!("GetUser by sub: any of {users} users of ten attributes against any of {FEW}");
    let lookups = || cognito.user_reads();
    let comparison = Comparison { title, targets, is_paced: false, lookups: &lookups, compare: &compare };
    let table = comparison.run(&bench.effort);
    println!("{table}");
    let [rates, cpus, _] = &table.ratios;
    vec![
        Row::ratio(format!("{users} users to {FEW}: CPU of a hit"), Goal::AtMost(1.35), cpus),
        Row::ratio(format!("{users} users to {FEW}: requests/s"), Goal::Unset, rates),
        Row::bytes(format!("memory of a user, {users} held"), Goal::AtMost(900.0), bytes),
    ]
}

fn settings(bench: &Bench, cognito: &SyntheticCognito) -> Settings {
    let usual = Settings::before(&bench.cognito);
    Settings {
        issuer: format!("{}/{}", cognito.url, usual.pool_id),
        endpoint_url: cognito.url.clone(),
        attributes: SyntheticCognito::attributes(),
        cache: "2GiB",
        ..usual
    }
}

/// Calls once for each user numbered `from` to `to - 1`.
fn fetch(server: &Server, from: usize, to: usize) {
    let client = LoadClient::connect(server.address, CONNECTIONS, None);
    client.run(to - from, None, &|call| Call::by_sub(&SyntheticCognito::sub(from + call)));
}

fn target<'a>(bench: &Bench, name: &'a str, server: &'a Server, users: usize) -> Target<'a> {
    let client = LoadClient::connect(server.address, CONNECTIONS, None);
    let reply = client.call(&Call::by_sub(&SyntheticCognito::sub(0))).unwrap().len();
    let anyone = move |_| Call::by_sub(&SyntheticCognito::sub(fastrand::usize(..users)));
    let load = Load::Own(client, Box::new(anyone));
    Target { name, server, load, calls: bench.effort.calls, users: 1, reply }
}

/// Panics if a reply has another user than the call, or if the cache does not hold all users.
fn compare(server: &Server, users: usize) {
    let client = LoadClient::connect(server.address, 1, None);
    for _ in 0..COMPARED {
        let sub = SyntheticCognito::sub(fastrand::usize(..users));
        let reply = client.call(&Call::by_sub(&sub)).unwrap();
        let found = decode(&reply).user.unwrap();
        assert_eq!((found.sub, found.attributes.len()), (sub, 10));
    }
    assert_eq!(server.metric(r#"cognito_lookup_cache_evictions_total{store="Users"}"#), 0);
    assert_eq!(server.metric(r#"cognito_lookup_cache_lookups_total{outcome="Miss"}"#), users);
}

const FEW: usize = 1_000;
const COMPARED: usize = 1_000;
