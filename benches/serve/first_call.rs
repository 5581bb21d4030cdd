//! The first call with a token, compared with its necessary steps: one RS256 verification and one
//! cache hit.

use std::{fs, thread, time::Duration};

use jsonwebtoken::{Algorithm, DecodingKey, crypto, jwk::JwkSet};

use crate::{
    Bench,
    call::Call,
    client::LoadClient,
    measurements::{Ratios, median},
    outcome::CONNECTIONS,
    server::Server,
    settings::Settings,
    table::{Goal, Row},
};

/// Calls with new tokens, then again with the same tokens, and verifies their signatures in this
/// process.
pub(crate) fn first_call(bench: &Bench) -> Vec<Row> {
    let server = Server::ours(&Settings::before(&bench.cognito));
    let client = LoadClient::connect(server.address, CONNECTIONS, None);
    let key = key(bench);
    let [mut firsts, mut hits, mut checks] = [const { Vec::new() }; 3];
    // The first round does not count: it also fetches the JWKS and the user.
    for round in 0..=bench.effort.rounds {
        let tokens = tokens(bench);
        let (lookups, misses) = (bench.lookups(), server.metric(MISSES));
        let first = cpu(&server, &client, &tokens, 1);
        assert_eq!(server.metric(MISSES), misses + tokens.len(), "not all were new");
        let hit = cpu(&server, &client, &tokens, AGAIN);
        assert_eq!(server.metric(MISSES), misses + tokens.len(), "not all were known");
        let check = check(&tokens, &key);
        server.assert_no_failed_call();
        if round > 0 {
            assert_eq!(bench.lookups(), lookups, "the user was fetched");
            firsts.push(first);
            hits.push(hit);
            checks.push(check);
        }
    }
    let count = bench.effort.tokens;
    println!(
        "\nGetUser by {count} tokens never seen, by the same once more, and their signatures verified alone"
    );
    for (name, cpus) in [("first call", &firsts), ("hit", &hits), ("RS256 verification", &checks)] {
        println!("{name:36}{:>11.2} us CPU", median(cpus) * 1e6);
    }
    let least: Vec<f64> = hits.iter().zip(&checks).map(|(hit, check)| hit + check).collect();
    let ratios = Ratios::of(&firsts, &least);
    let name = "first call with a token to RS256 + hit: CPU/request".to_owned();
    vec![Row::ratio(name, Goal::AtMost(1.25), &ratios)]
}

/// Mints tokens that differ in their `jti`.
fn tokens(bench: &Bench) -> Vec<String> {
    (0..bench.effort.tokens).map(|_| bench.cognito.access_token("ada").unwrap()).collect()
}

/// Returns the server's CPU seconds for each call, when each token is used `times` times.
fn cpu(server: &Server, client: &LoadClient, tokens: &[String], times: usize) -> f64 {
    let calls = times * tokens.len();
    thread::sleep(REST);
    let before = server.cpu();
    client.run(calls, None, &|call| Call::by_token(&tokens[call % tokens.len()]));
    (server.cpu() - before).as_secs_f64() / calls as f64
}

/// Returns this thread's CPU seconds for each signature.
fn check(tokens: &[String], key: &DecodingKey) -> f64 {
    let before = ran();
    for token in tokens {
        let (signed, signature) = token.rsplit_once('.').unwrap();
        assert!(crypto::verify(signature, signed.as_bytes(), key, Algorithm::RS256).unwrap());
    }
    (ran() - before).as_secs_f64() / tokens.len() as f64
}

/// Returns this thread's CPU time. The kernel updates it when the thread sleeps.
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
