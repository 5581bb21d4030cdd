//! Hits among many users, against hits among few, and what each of the many takes.

use tokio::time::Instant;

use crate::{
    Bench,
    callers::Callers,
    contest::Contest,
    crowd::Crowd,
    load::{CONNECTIONS, Load},
    question::{Question, user},
    server::Server,
    settings::Settings,
    side::Side,
    table::{Goal, Row},
};

/// A million of them.
pub(crate) fn million(bench: &Bench) -> Vec<Row> {
    let crowd = Crowd::start(bench.cognito.jwks());
    let settings = settings(bench, &crowd);
    let users = bench.effort.users;
    let [few, many] = [&settings; 2].map(Server::ours);
    fetch(&few, 0, FEW);
    fetch(&many, 0, FEW);
    let (before, begun) = (many.memory(), Instant::now());
    fetch(&many, FEW, users);
    println!("\n{users} users were fetched in {}s", begun.elapsed().as_secs());
    let bytes = many.memory().saturating_sub(before) as f64 / (users - FEW) as f64;
    assert_eq!(crowd.asked(), FEW + users);
    let servers = [("few", &few, FEW), ("many", &many, users)];
    let compare = || servers.iter().for_each(|(_, server, users)| compare(server, *users));
    let sides = servers.map(|(name, server, users)| side(bench, name, server, users));
    let title = format!("GetUser by sub: any of {users} users of ten attributes against any of {FEW}");
    let lookups = || crowd.asked();
    let contest = Contest { title, sides, is_paced: false, lookups: &lookups, compare: &compare };
    let table = contest.held(&bench.effort);
    println!("{table}");
    let [rates, cpus, _] = &table.ratios;
    vec![
        Row::ratio(format!("{users} users to {FEW}: CPU of a hit"), Goal::AtMost(1.25), cpus),
        Row::ratio(format!("{users} users to {FEW}: requests/s"), Goal::Told, rates),
        Row::bytes(format!("memory of a user, {users} held"), Goal::AtMost(750.0), bytes),
    ]
}

fn settings(bench: &Bench, crowd: &Crowd) -> Settings {
    let usual = Settings::before(&bench.cognito);
    Settings {
        issuer: format!("{}/{}", crowd.url, usual.pool_id),
        endpoint_url: crowd.url.clone(),
        attributes: Crowd::attributes(),
        cache: "2GiB",
        ..usual
    }
}

/// Asks for each that has a number from one to below the other.
fn fetch(server: &Server, from: usize, to: usize) {
    let callers = Callers::connect(server.address, CONNECTIONS, None);
    callers.run(to - from, None, &|call| Question::by_sub(&Crowd::sub(from + call)));
}

fn side<'a>(bench: &Bench, name: &'a str, server: &'a Server, users: usize) -> Side<'a> {
    let callers = Callers::connect(server.address, CONNECTIONS, None);
    let reply = callers.ask(&Question::by_sub(&Crowd::sub(0))).unwrap().len();
    let anyone = move |_| Question::by_sub(&Crowd::sub(fastrand::usize(..users)));
    let load = Load::Own(callers, Box::new(anyone));
    Side { name, server, load, calls: bench.effort.calls, users: 1, reply }
}

/// Fails if it answers about another user than it was asked about, or if it does not hold them all.
fn compare(server: &Server, users: usize) {
    let caller = Callers::connect(server.address, 1, None);
    for _ in 0..COMPARED {
        let sub = Crowd::sub(fastrand::usize(..users));
        let reply = caller.ask(&Question::by_sub(&sub)).unwrap();
        let found = user(&reply).user.unwrap();
        assert_eq!((found.sub, found.attributes.len()), (sub, 10));
    }
    assert_eq!(server.metric(r#"cognito_lookup_cache_evictions_total{store="Users"}"#), 0);
    assert_eq!(server.metric(r#"cognito_lookup_cache_lookups_total{outcome="Miss"}"#), users);
}

const FEW: usize = 1_000;
const COMPARED: usize = 1_000;
