//! The first sight of a token, against what it cannot do without: the check of its signature, and a hit.

use std::{fs, thread, time::Duration};

use jsonwebtoken::{Algorithm, DecodingKey, crypto, jwk::JwkSet};

use crate::{
    Bench,
    callers::Callers,
    figures::{Ratios, median},
    load::CONNECTIONS,
    question::Question,
    server::Server,
    settings::Settings,
    table::{Goal, Row},
};

/// Tokens that were never seen, which are asked about again, and whose signatures are verified here.
pub(crate) fn first(bench: &Bench) -> Vec<Row> {
    let server = Server::ours(&Settings::before(&bench.cognito));
    let callers = Callers::connect(server.address, CONNECTIONS, None);
    let key = key(bench);
    let [mut firsts, mut hits, mut checks] = [const { Vec::new() }; 3];
    // The first round is not counted: until then the keys and the user are not there.
    for round in 0..=bench.effort.rounds {
        let tokens = tokens(bench);
        let (lookups, misses) = (bench.lookups(), server.metric(MISSES));
        let first = cpu(&server, &callers, &tokens, 1);
        assert_eq!(server.metric(MISSES), misses + tokens.len(), "not all were new");
        let hit = cpu(&server, &callers, &tokens, AGAIN);
        assert_eq!(server.metric(MISSES), misses + tokens.len(), "not all were known");
        let check = check(&tokens, &key);
        server.assert_content();
        if round > 0 {
            assert_eq!(bench.lookups(), lookups, "the user was asked for");
            firsts.push(first);
            hits.push(hit);
            checks.push(check);
        }
    }
    let count = bench.effort.tokens;
    println!(
        "\nGetUser by {count} tokens never seen, by the same once more, and their signatures verified alone"
    );
    for (name, cpus) in [("first sight", &firsts), ("hit", &hits), ("RS256 verification", &checks)] {
        println!("{name:36}{:>11.2} us CPU", median(cpus) * 1e6);
    }
    let least: Vec<f64> = hits.iter().zip(&checks).map(|(hit, check)| hit + check).collect();
    let ratios = Ratios::of(&firsts, &least);
    let name = "first sight of a token to RS256 + hit: CPU/request".to_owned();
    vec![Row::ratio(name, Goal::AtMost(1.25), &ratios)]
}

/// Each has an id of its own.
fn tokens(bench: &Bench) -> Vec<String> {
    (0..bench.effort.tokens).map(|_| bench.cognito.access_token("ada").unwrap()).collect()
}

/// Returns the seconds that the server ran for each call, about each token so many times.
fn cpu(server: &Server, callers: &Callers, tokens: &[String], times: usize) -> f64 {
    let calls = times * tokens.len();
    thread::sleep(REST);
    let before = server.cpu();
    callers.run(calls, None, &|call| Question::by_token(&tokens[call % tokens.len()]));
    (server.cpu() - before).as_secs_f64() / calls as f64
}

/// Returns the seconds that this thread ran for each signature.
fn check(tokens: &[String], key: &DecodingKey) -> f64 {
    let before = ran();
    for token in tokens {
        let (signed, signature) = token.rsplit_once('.').unwrap();
        assert!(crypto::verify(signature, signed.as_bytes(), key, Algorithm::RS256).unwrap());
    }
    (ran() - before).as_secs_f64() / tokens.len() as f64
}

/// The kernel brings the time of a thread up to date when it stops.
fn ran() -> Duration {
    thread::sleep(Duration::from_millis(1));
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

fn key(bench: &Bench) -> DecodingKey {
    let keys: JwkSet = serde_json::from_value(bench.cognito.jwks()).unwrap();
    DecodingKey::from_jwk(&keys.keys[0]).unwrap()
}

const AGAIN: usize = 10;
const MISSES: &str = r#"cognito_lookup_verdict_cache_requests_total{result="Miss"}"#;
const REST: Duration = Duration::from_millis(100);
