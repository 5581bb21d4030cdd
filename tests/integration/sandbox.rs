mod control;

use std::{fs, net::TcpListener, process::Output, thread, time::Duration};

use serde_json::Value;
use tempfile::TempDir;
use tokio::time::Instant;

use crate::{
    store::server::{Engine, Server},
    support::GRACE,
    support::command::{GOOD, Sandbox, code, run, settings, stderr, stdout},
};

#[test]
fn the_sandbox_answers_and_drains() {
    let sandbox = Sandbox::start(&[]);
    let warnings: Vec<_> = sandbox.start.iter().filter(|line| !line["from"].is_null()).collect();
    assert!(warnings.is_empty(), "the settings are its own choice: {warnings:?}");
    let address = &sandbox.address;
    assert_eq!(stdout(&run(&["healthcheck", "--address", address], &[])).trim(), "SERVING");

    let ada = [("COGNITO_LOOKUP_TOKEN", sandbox.export("ADA_TOKEN"))];
    let got = run(&["get", "--address", address, "--json"], &ada);
    let user: Value = serde_json::from_slice(&got.stdout).unwrap();
    assert_eq!(user["user"]["attributes"]["email"], "ada@example.com");
    let got = run(&["get", "--address", address, "--json", "--sub", GRACE], &[]);
    let user: Value = serde_json::from_slice(&got.stdout).unwrap();
    assert_eq!(user["user"]["username"], "Google_1034567890");

    let refused = run(&["get", "--address", address, "--sub", "a b", "--attributes", "phone_number"], &[]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("sub: must be 1 to 128 characters"));
    let refused = run(&["get", "--address", address, "--sub", "a", "--attributes", "phone_number"], &[]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("attributes: phone_number"));

    let refused =
        run(&["get", "--address", address], &[("COGNITO_LOOKUP_TOKEN", sandbox.export("BOB_TOKEN"))]);
    assert_eq!(code(&refused), 5);
    assert!(stderr(&refused).contains("USER_DISABLED"));
    assert_eq!(sandbox.terminate(), Some(0));
}

#[tokio::test]
async fn replicas_of_the_sandbox_share_a_cache() {
    let store = Server::start(Engine::Valkey).await;
    let url = format!("redis://{}", store.address);
    let sandbox = Sandbox::start(&["--replicas", "2", "--shared-cache", &url]);
    let [first, second] = &sandbox.replicas[..] else { panic!("{:?}", sandbox.banner) };
    assert!(sandbox.banner.iter().any(|line| line.contains(&url)), "{:?}", sandbox.banner);
    // A replica serves before it is connected to the store.
    for replica in [second, first] {
        let said = until(|| Some(expire(replica)).filter(|expired| code(expired) == 0));
        assert!(stdout(&said).contains("all replicas were told"), "{said:?}");
    }
    assert_eq!(source(first), "SOURCE_COGNITO");
    assert_eq!(source(second), "SOURCE_SHARED_CACHE");
    // The event of an expiry takes a moment, also of the ones before.
    until(|| (source(second) == "SOURCE_CACHE").then_some(()));
    assert_eq!(code(&expire(first)), 0);
    let source = until(|| Some(source(second)).filter(|source| source != "SOURCE_CACHE"));
    assert_eq!(source, "SOURCE_COGNITO");
    assert_eq!(sandbox.terminate(), Some(0));
}

#[test]
fn without_a_shared_cache_the_replicas_of_the_sandbox_share_nothing_and_say_so() {
    let sandbox = Sandbox::start(&["--replicas", "2"]);
    let said = "Shared cache     none: each replica has a cache of its own";
    assert!(sandbox.banner.iter().any(|line| line.contains(said)), "{:?}", sandbox.banner);
    for replica in &sandbox.replicas {
        assert_eq!(source(replica), "SOURCE_COGNITO");
    }
    let said = stdout(&expire(&sandbox.address));
    assert!(!said.contains("all replicas"), "{said}");
    assert_eq!(sandbox.terminate(), Some(0));
}

/// Looks a user up at a replica, and returns where the answer came from.
fn source(address: &str) -> String {
    let got = run(&["get", "--address", address, "--json", "--sub", GRACE], &[]);
    let user: Value = serde_json::from_slice(&got.stdout).unwrap();
    user["freshness"]["source"].as_str().unwrap().to_owned()
}

fn expire(address: &str) -> Output {
    run(&["expire", "--address", address, GRACE], &[])
}

/// Repeats something until it returns a value, for at most a minute.
fn until<T>(mut attempt: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(value) = attempt() {
            return value;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "it takes too long");
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn wrong_replicas_and_shared_caches_of_the_sandbox_are_refused() {
    for (arguments, expected) in [
        (["--replicas", "0"], "0 is not in 1..=16"),
        (["--replicas", "17"], "17 is not in 1..=16"),
        (["--replicas=2", "--listen=127.0.0.1:65535"], "127.0.0.1:65535 leaves too few ports"),
        (["--shared-cache", "redis://ada:secret@127.0.0.1"], "(from flag --shared-cache)"),
        (["--shared-cache", "127.0.0.1:6379"], "expected rediss://HOST:PORT, redis://HOST:PORT or unix:PATH"),
    ] {
        let output = run(&[&["sandbox", "--cognito", "127.0.0.1:0"], &arguments[..]].concat(), &[]);
        let said = stderr(&output);
        assert_eq!(code(&output), 2, "{arguments:?}: {said}");
        assert!(said.contains(expected) && !said.contains("secret@"), "{arguments:?}: {said}");
    }
}

#[test]
fn the_sandbox_reads_users_from_a_file() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("people.json");
    let people = r#"{"users": [{"username": "eve", "sub": "e", "attributes": {"name": "Eve"}}]}"#;
    fs::write(&file, people).unwrap();
    let sandbox = Sandbox::start(&["--users", file.to_str().unwrap()]);
    let got = run(
        &["get", "--json", "--address", &sandbox.address],
        &[("COGNITO_LOOKUP_TOKEN", sandbox.export("EVE_TOKEN"))],
    );
    let user: Value = serde_json::from_slice(&got.stdout).unwrap();
    assert_eq!(user["user"]["attributes"]["name"], "Eve");
    assert_eq!(sandbox.terminate(), Some(0));

    fs::write(&file, r#"{"users": [{"username": "eve", "pasword": "x"}]}"#).unwrap();
    let output = run(&["sandbox", "--users", file.to_str().unwrap()], &[]);
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("pasword"));
}

#[test]
fn the_sandbox_listens_on_loopback_only() {
    for arguments in [["--listen", "0.0.0.0:0"], ["--cognito", "0.0.0.0:0"], ["--listen", "[::]:0"]] {
        // The missing file makes sure that the sandbox ends even if it accepts the address.
        let output = run(&[&["sandbox", "--users", "/nowhere/people.json"], &arguments[..]].concat(), &[]);
        assert_eq!(code(&output), 2, "{arguments:?}");
        let said = stderr(&output);
        assert!(said.contains("can mint tokens") && said.contains("give --allow-remote"), "{said}");
    }
}

#[test]
fn a_port_in_use_exits_with_1_and_names_the_flag() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listener.local_addr().unwrap().to_string();
    let free = "127.0.0.1:0";
    let (_folder, file) = settings(GOOD);
    for (arguments, flag) in [
        (["sandbox", "--listen", &taken, "--cognito", free], "--listen"),
        (["sandbox", "--listen", free, "--cognito", &taken], "--cognito"),
        (["serve", "--listen", &taken, "--config", &file], "--listen"),
    ] {
        let output = run(&arguments, &[]);
        let said = stderr(&output);
        assert_eq!(code(&output), 1, "{said}");
        assert!(said.contains(&taken) && said.contains(&format!("choose another with {flag}")), "{said}");
    }
}
