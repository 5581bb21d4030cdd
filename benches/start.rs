//! The time from the start of the binary to serving, with the stand-in as Cognito: `cargo bench
//! --bench start`.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench fails by panicking and prints its figures"
)]

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    time::Duration,
};

use cognito_standin::{Pool, StandIn};
use tokio::time::Instant;

fn main() {
    let cognito = StandIn::start(Pool::sandbox()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("settings.toml");
    fs::write(&file, settings(&cognito)).unwrap();
    let mut times: Vec<Duration> = (0..STARTS).map(|_| start(file.to_str().unwrap())).collect();
    times.sort_unstable();
    let [first, middle, last] = [0, times.len() / 2, times.len() - 1].map(|n| times.get(n).unwrap());
    println!(
        "start to serving, {STARTS} times: minimum {first:.1?}, median {middle:.1?}, maximum {last:.1?}"
    );
}

fn start(settings: &str) -> Duration {
    let begun = Instant::now();
    let mut process = Command::new(env!("CARGO_BIN_EXE_cognito-lookup"))
        .args(["serve", "--config", settings])
        .env_clear()
        .envs([("AWS_ACCESS_KEY_ID", "x"), ("AWS_SECRET_ACCESS_KEY", "x")])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let log = BufReader::new(process.stderr.take().unwrap());
    let serving = log.lines().map_while(Result::ok).any(|line| line.contains("\"message\":\"serving\""));
    let taken = begun.elapsed();
    process.kill().unwrap();
    process.wait().unwrap();
    assert!(serving, "the server ended before it served");
    taken
}

fn settings(cognito: &StandIn) -> String {
    format!(
        r#"listen = "127.0.0.1:0"
admin_listen = "127.0.0.1:0"
[[pools]]
id = "{}"
issuer = "{}"
endpoint_url = "{}"
app_clients = ["sandboxwebclient0000000001"]
[[callers]]
name = "web"
app_client = "sandboxwebclient0000000001"
attributes = ["name"]
"#,
        cognito.pool_id(),
        cognito.issuer(),
        cognito.endpoint_url(),
    )
}

const STARTS: usize = 20;
