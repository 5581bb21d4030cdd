use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Child, Stdio},
};

use serde_json::{Value, json};

use super::until;
use crate::support::{
    ADA, BOB, GRACE,
    command::{ANY_PORT, Sandbox, code, command, run, stderr, stdout},
};

/// The URL of the emulator of a sandbox.
fn cognito(sandbox: &Sandbox) -> String {
    let line = sandbox.banner.iter().find_map(|line| line.trim().strip_prefix("Cognito emulator "));
    line.unwrap().split(' ').next().unwrap().to_owned()
}

/// Runs a command to a sandbox, and returns what it prints.
fn control(sandbox: &Sandbox, arguments: &[&str]) -> String {
    let url = cognito(sandbox);
    let output = run(&[&["sandbox"], arguments, &["--cognito", &url]].concat(), &[]);
    assert_eq!(code(&output), 0, "{arguments:?}: {}", stderr(&output));
    stdout(&output).trim().to_owned()
}

/// Looks up the user of a token, and returns the reason of the error or the source of the answer.
fn look_up(sandbox: &Sandbox, token: &str, arguments: &[&str]) -> String {
    let arguments = [&["get", "--json", "--address", &sandbox.address], arguments].concat();
    let output = run(&arguments, &[("COGNITO_LOOKUP_TOKEN", token)]);
    if code(&output) == 0 {
        let user: Value = serde_json::from_slice(&output.stdout).unwrap();
        return user["freshness"]["source"].as_str().unwrap().to_owned();
    }
    let said = stderr(&output);
    let upper = |word: &&str| word.len() > 4 && word.chars().all(|c| c.is_ascii_uppercase() || c == '_');
    said.split([' ', ':', '\n']).find(upper).unwrap_or_else(|| panic!("{said}")).to_owned()
}

fn exchange(url: &str, line: &str, body: &str) -> (String, Value) {
    exchange_with(url, line, "", body)
}

fn exchange_with(url: &str, line: &str, headers: &str, body: &str) -> (String, Value) {
    let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
    let length = body.len();
    let head = format!("{line} HTTP/1.1\r\nhost: sandbox\r\nconnection: close\r\ncontent-length: {length}");
    stream.write_all(format!("{head}\r\n{headers}\r\n{body}").as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().to_owned(), serde_json::from_str(body).unwrap())
}

#[test]
fn without_a_loopback_caller_errors_are_those_of_production() {
    let sandbox = Sandbox::start_as_documented(&[]);
    let ada = sandbox.export("ADA_TOKEN");
    assert_eq!(look_up(&sandbox, ada, &[]), "SOURCE_COGNITO");
    for arguments in [&[][..], &["--sub", GRACE]] {
        let output = run(&[&["get", "--address", &sandbox.address], arguments].concat(), &[]);
        assert_eq!(code(&output), 5);
        assert!(stderr(&output).contains("TOKEN_MISSING"), "{}", stderr(&output));
    }
    assert_eq!(look_up(&sandbox, ada, &["--sub", GRACE]), "SUBJECT_AMBIGUOUS");
    let backend = sandbox.export("BACKEND_TOKEN");
    assert_eq!(look_up(&sandbox, backend, &["--sub", GRACE]), "SOURCE_COGNITO");
    let expired = ["expire", "--address", &sandbox.address, GRACE];
    assert_eq!(code(&run(&expired, &[("COGNITO_LOOKUP_TOKEN", backend)])), 0);
    assert_eq!(code(&run(&expired, &[])), 5);
}

#[test]
fn a_loopback_caller_is_there_if_it_is_asked_for() {
    let sandbox = Sandbox::start_as_documented(&["--loopback-caller"]);
    let output = run(&["get", "--address", &sandbox.address, "--sub", GRACE], &[]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
}

#[test]
fn tokens_with_flaws_get_the_errors_of_production() {
    let sandbox = Sandbox::start_as_documented(&[]);
    let mint = |arguments: &[&str]| control(&sandbox, &[&["token"], arguments].concat());
    for (arguments, expected) in [
        (&["ada"][..], "SOURCE_COGNITO"),
        (&[GRACE], "SOURCE_COGNITO"),
        (&["ada", "--groups", "one,two", "--scope", "openid a/read"], "SOURCE_CACHE"),
        (&["ada", "--expired"], "TOKEN_EXPIRED"),
        (&["ada", "--forged"], "TOKEN_INVALID"),
        (&["ada", "--id"], "ID_TOKEN_REFUSED"),
        (&["bob"], "USER_DISABLED"),
        (&["sandboxmachine000000000001", "--scope", "other/read"], "SCOPE_MISSING"),
    ] {
        assert_eq!(look_up(&sandbox, &mint(arguments), &[]), expected, "{arguments:?}");
    }
    let url = cognito(&sandbox);
    let refused = run(&["sandbox", "token", "nobody", "--cognito", &url], &[]);
    assert_eq!(code(&refused), 2);
    assert!(stderr(&refused).contains(r#""nobody" is no username"#), "{}", stderr(&refused));
    let nothing = run(&["sandbox", "token", "ada", "--cognito", "http://127.0.0.1:1"], &[]);
    assert_eq!(code(&nothing), 3, "{}", stderr(&nothing));
    let other = run(&["sandbox", "reset", "--cognito", &sandbox.admin], &[]);
    assert_eq!(code(&other), 2);
    assert!(stderr(&other).contains("is it a sandbox?"), "{}", stderr(&other));
}

#[test]
fn a_fault_at_run_time_is_seen_once_the_cache_is_empty_and_ends_with_a_reset() {
    let sandbox = Sandbox::start_as_documented(&[]);
    let (ada, url) = (sandbox.export("ADA_TOKEN"), cognito(&sandbox));
    assert_eq!(look_up(&sandbox, ada, &[]), "SOURCE_COGNITO");
    control(&sandbox, &["fault", "throttle"]);
    assert_eq!(look_up(&sandbox, ada, &[]), "SOURCE_CACHE", "a fault empties no cache");
    assert_eq!(exchange(&url, "DELETE /sandbox/cache", ""), ("200".to_owned(), json!({})));
    assert_eq!(look_up(&sandbox, ada, &[]), "UPSTREAM_THROTTLED");
    control(&sandbox, &["fault", "none"]);
    let found = until(|| Some(look_up(&sandbox, ada, &[])).filter(|answer| answer.starts_with("SOURCE")));
    assert_eq!(found, "SOURCE_COGNITO");

    assert_eq!(exchange(&url, "PUT /sandbox/fault/denied", "").1, json!({"fault": "denied"}));
    control(&sandbox, &["reset"]);
    let found = until(|| Some(look_up(&sandbox, ada, &[])).filter(|answer| answer.starts_with("SOURCE")));
    assert_eq!(found, "SOURCE_COGNITO", "a reset ends the fault and empties the cache");
    let unknown = run(&["sandbox", "fault", "flood", "--cognito", &url], &[]);
    assert_eq!(code(&unknown), 2);
    assert!(stderr(&unknown).contains("expected throttle, outage"), "{}", stderr(&unknown));
}

#[test]
fn a_reset_forgets_a_user_that_was_created_since_the_start() {
    let sandbox = Sandbox::start_as_documented(&[]);
    let create = json!({"UserPoolId": "eu-west-1_Sandbox01", "Username": "eve"}).to_string();
    let operation = "x-amz-target: AWSCognitoIdentityProviderService.AdminCreateUser\r\n";
    assert_eq!(exchange_with(&cognito(&sandbox), "POST /", operation, &create).0, "200");
    let eve = control(&sandbox, &["token", "eve"]);
    assert_eq!(look_up(&sandbox, &eve, &[]), "SOURCE_COGNITO");
    control(&sandbox, &["reset"]);
    assert_eq!(look_up(&sandbox, &eve, &[]), "USER_NOT_FOUND");
}

#[test]
fn faults_from_the_start_have_the_reasons_of_production() {
    for (fault, expected) in [
        ("throttle", "UPSTREAM_THROTTLED"),
        ("outage", "KEYS_UNAVAILABLE"),
        ("hang", "UPSTREAM_UNAVAILABLE"),
        ("error", "UPSTREAM_UNAVAILABLE"),
        ("denied", "UPSTREAM_UNAVAILABLE"),
        ("slow", "SOURCE_COGNITO"),
    ] {
        println!("{fault}");
        let started = Started::start(&["--fault", fault]);
        let document = &started.document;
        let address = document["replicas"][0]["grpc"].as_str().unwrap().to_owned();
        let token = document["users"]["ada"]["access_token"].as_str().unwrap();
        assert_eq!(document["fault"], fault);
        let arguments = ["get", "--json", "--address", &format!("http://{address}")];
        until(|| {
            let output = run(&arguments, &[("COGNITO_LOOKUP_TOKEN", token)]);
            (stdout(&output) + &stderr(&output)).contains(expected).then_some(())
        });
    }
}

#[test]
fn the_json_document_is_all_that_is_printed() {
    let started = Started::start(&[]);
    let document = &started.document;
    let users = document["users"].as_object().unwrap();
    let subs: Vec<_> = users.values().map(|user| user["sub"].as_str().unwrap()).collect();
    assert_eq!(subs, [ADA, GRACE, BOB]);
    assert_eq!(document["users"]["ada"]["password"], "Ada-Sandbox-1");
    let machine = &document["machine_clients"][0];
    assert_eq!(machine["scope"], "user-lookup/read");
    let url = document["cognito"]["endpoint_url"].as_str().unwrap();
    assert_eq!(document["control_url"], format!("{url}/sandbox"));
    let (status, served) = exchange(url, "GET /sandbox", "");
    assert_eq!((status.as_str(), &served["replicas"]), ("200", &document["replicas"]));
    // A sign-in with the password, and a token for the machine client.
    let form = format!(
        "grant_type=client_credentials&client_id={}&client_secret={}",
        machine["client_id"].as_str().unwrap(),
        machine["client_secret"].as_str().unwrap()
    );
    let (status, granted) = exchange(url, "POST /oauth2/token", &form);
    assert_eq!((status.as_str(), &granted["token_type"]), ("200", &json!("Bearer")));
}

#[test]
fn other_addresses_than_loopback_are_allowed_by_a_flag_with_a_warning() {
    let arguments = ["--allow-remote", "--listen", "0.0.0.0:0", "--admin-listen", "0.0.0.0:0"];
    let emulator = ["--cognito", "0.0.0.0:0", "--cognito-url", "http://sandbox:9229/"];
    let sandbox = Sandbox::start_as_documented(&[&arguments[..], &emulator].concat());
    let warnings = sandbox.start.iter().filter(|line| {
        line["level"] == "WARN" && line["message"].as_str().unwrap().starts_with("--allow-remote: ")
    });
    assert_eq!(warnings.count(), 3, "{:?}", sandbox.start);
    assert_eq!(cognito(&sandbox), "http://sandbox:9229");
    assert_eq!(look_up(&sandbox, sandbox.export("ADA_TOKEN"), &[]), "SOURCE_COGNITO");
}

/// A sandbox that prints JSON.
struct Started {
    process: Child,
    document: Value,
}

impl Started {
    fn start(arguments: &[&str]) -> Self {
        let arguments = [&["sandbox", "--output", "json"], ANY_PORT, arguments].concat();
        let mut command = command(&arguments);
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { process, document: serde_json::from_str(&line).unwrap() }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
