use std::{fs, net::TcpListener};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
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
        assert!(said.contains("can mint tokens") && said.contains("on loopback only"), "{said}");
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
