use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener},
    os::unix::net::UnixListener,
    thread,
};

use cognito_lookup::config::{CallerSettings, ClientCertificate, Reads};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::{
    support::certificates::{Authority, Files},
    support::command::{Sandbox, code, command, run, stderr, stdout},
    support::process::Process,
    support::{ADA, App, BOB, standin},
};

#[test]
fn an_unreachable_server_and_a_bad_address_have_their_exit_codes() {
    for command in ["get", "healthcheck"] {
        assert_eq!(code(&run(&[command, "--address", "http://127.0.0.1:1"], &[])), 3, "{command}");
        for address in ["not a url", "127.0.0.1:50051", "ftp://127.0.0.1:50051"] {
            assert_eq!(code(&run(&[command, "--address", address], &[])), 2, "{command} {address}");
        }
    }
}

#[test]
fn commands_print_text_or_json() {
    let sandbox = Sandbox::start(&[]);
    let ask = |arguments: &[&str]| run(&[arguments, &["--address", &sandbox.address]].concat(), &[]);
    let got = stdout(&ask(&["get", "--sub", ADA, "--groups"]));
    for line in ["status     CONFIRMED", "groups     engineers", "email      ada@example.com"] {
        assert!(got.lines().any(|own| own == line), "{line} is missing in:\n{got}");
    }
    let batch = ask(&["batch", ADA, "nobody", ADA]);
    let lines: Vec<_> = stdout(&batch).lines().map(str::to_owned).collect();
    assert_eq!((lines.len(), code(&batch)), (3, 6));
    assert!(lines[0].starts_with(&format!("{ADA} CONFIRMED username=\"ada\"")) && lines[0] == lines[2]);
    assert_eq!(lines[1], "nobody NotFound USER_NOT_FOUND: there is no such user");
    let batch = stdout(&ask(&["batch", "--json", BOB, "nobody"]));
    let items: Vec<Value> = batch.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        (&items[0]["found"]["user"]["sub"], &items[0]["found"]["user"]["enabled"]),
        (&BOB.into(), &Value::Null)
    );
    assert_eq!(items[1]["error"]["details"][0]["reason"], "USER_NOT_FOUND");

    let inspected = stdout(&ask(&["inspect", ADA]));
    assert!(inspected.contains("state       fresh") && !inspected.contains("ada@example.com"), "{inspected}");
    let explained = stdout(&ask(&["explain", "web", ADA, "--attributes", "email,phone_number"]));
    assert!(explained.contains("phone_number  withheld (callers[0].attributes"), "{explained}");
    assert_eq!(
        stdout(&ask(&["expire", ADA])).trim(),
        "the user was cached; the next lookup fetches from Cognito"
    );
    let revoked: Value = serde_json::from_str(&stdout(&ask(&[
        "revoke",
        ADA,
        "--issued-until",
        "2026-01-01T00:00:00Z",
        "--json",
    ])))
    .unwrap();
    // A day and twice the leeway.
    assert_eq!(revoked["refusedUntil"], "2026-01-02T00:00:20Z");
    assert!(stdout(&ask(&["revoke", ADA])).contains("only the one that answered"));
    assert_eq!(code(&ask(&["revoke"])), 2, "neither a sub nor a token");
    let refused = ask(&["erase", ADA]);
    assert!(code(&refused) == 2 && stderr(&refused).contains("--yes"), "there is no terminal to confirm on");
    let receipt: Value = serde_json::from_str(&stdout(&ask(&["erase", ADA, "--yes", "--json"]))).unwrap();
    assert_eq!((receipt["receiptId"].as_str().unwrap().len(), &receipt["entries"]), (36, &1.into()));
}

#[test]
fn a_batch_file_keeps_its_order_and_a_bad_line_is_named() {
    let folder = TempDir::new().unwrap();
    let (people, subs) = (folder.path().join("people.json"), folder.path().join("subs"));
    // The sandbox prints a token for each user: more users would fill the pipe.
    let names: Vec<_> = (0..250).map(|n| format!("user-{}", n % 40)).collect();
    let users: Vec<_> = names[..40]
        .iter()
        .map(|name| json!({"username": name, "sub": name, "attributes": {"name": name}}))
        .collect();
    fs::write(&people, json!({"users": users}).to_string()).unwrap();
    fs::write(&subs, names.join("\n") + "\n\n").unwrap();
    let sandbox = Sandbox::start(&["--users", people.to_str().unwrap()]);
    let ask = || run(&["batch", "--file", subs.to_str().unwrap(), "--address", &sandbox.address], &[]);
    let answered = ask();
    assert_eq!((code(&answered), stderr(&answered).as_str()), (0, ""), "no progress bar but on a terminal");
    let answered = stdout(&answered);
    let told: Vec<_> = answered.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(told, names);
    fs::write(&subs, "user-0\n\na b\n").unwrap();
    let refused = ask();
    assert!(
        code(&refused) == 2 && stderr(&refused).contains("subs line 3: is not a sub"),
        "{}",
        stderr(&refused)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_connect_over_mtls() {
    let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
    let files = Files::new(&servers.server(), &clients);
    let set = files.set(ClientCertificate::Required);
    let app = App::start_unready(standin(), |config| {
        set(config);
        config.callers.push(CallerSettings {
            name: "billing".into(),
            certificate: Some("billing.example.com".into()),
            reads: Reads::Any,
            attributes: vec!["email".into()],
            ..CallerSettings::default()
        });
    })
    .await;
    app.wait_until_ready().await;
    let client = clients.client("billing.example.com");
    let write = |name: &str, pem: &str| {
        fs::write(files.path(name), pem).unwrap();
        files.path(name).to_str().unwrap().to_owned()
    };
    let ca = write("ca.pem", &servers.pem);
    let (certificate, key) = (write("client.pem", &client.certificate), write("client.key", &client.key));
    let address = format!("https://localhost:{}", app.address.port());
    let asked = ["get", "--sub", ADA, "--address", &address];
    let trusting = [&asked[..], &["--ca-file", &ca]].concat();
    let known = [&trusting[..], &["--certificate-file", &certificate, "--key-file", &key]].concat();
    let got = run(&known, &[]);
    assert_eq!(code(&got), 0, "{}", stderr(&got));
    assert!(stdout(&got).contains("ada@example.com"));
    for (case, arguments) in [("an unknown authority", &asked[..]), ("no certificate", &trusting)] {
        assert_eq!(code(&run(arguments, &[])), 3, "{case}");
    }
    assert_eq!(app.cognito_lookups(), 1);
    let missing = [&asked[..], &["--ca-file", "/nowhere/ca.pem"]].concat();
    assert_eq!(code(&run(&missing, &[])), 2);
    let half = [&trusting[..], &["--certificate-file", &certificate]].concat();
    assert!(stderr(&run(&half, &[])).contains("--key-file"));
    let clear = ["get", "--address", "http://127.0.0.1:1", "--ca-file", &ca];
    assert_eq!(code(&run(&clear, &[])), 2, "certificates are of no use in clear");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_address_is_named_with_the_likely_cause() {
    let authority = Authority::new("servers");
    let files = Files::new(&authority.server(), &authority);
    let secure = App::start_unready(standin(), files.set(ClientCertificate::Off)).await;
    secure.wait_until_ready().await;
    let sandbox = Sandbox::start(&[]);
    let folder = TempDir::new().unwrap();
    let socket = |name: &str| format!("unix:{}", folder.path().join(name).display());
    let silent_socket = UnixListener::bind(folder.path().join("silent")).unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = |scheme: &str, address: SocketAddr| format!("{scheme}://localhost:{}", address.port());
    let plain = sandbox.address.replace("http://", "https://");
    let (http1, closing) =
        (answering(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n"), answering(b""));
    let cases = [
        (port("http", http1), "is an HTTP/1.1 server, not a gRPC server"),
        (port("https", http1), "is an HTTP/1.1 server without TLS"),
        (port("http", answering(b"SSH-2.0-OpenSSH_9.2\r\n")), "speaks neither HTTP nor TLS"),
        (port("http", closing), "closes each connection without an answer"),
        (port("http", secure.address), "speaks TLS; give https://localhost:"),
        (port("https", secure.address), "give the certificate authority of the service in --ca-file"),
        (plain, "does not speak TLS; give http://127.0.0.1:"),
        (port("http", silent.local_addr().unwrap()), "accepts connections but sends nothing"),
        (port("https", silent.local_addr().unwrap()), "accepts connections but sends nothing"),
        (socket("silent"), "accepts connections but sends nothing"),
        (sandbox.admin.clone(), "is the admin port of the service"),
        (socket("missing"), "there is no socket"),
        ("http://127.0.0.1:1".to_owned(), "nothing listens there"),
        ("http://nowhere.invalid:50051".to_owned(), "cannot connect to"),
    ];
    let mut calls = JoinSet::new();
    for (address, cause) in cases {
        for arguments in [&["get", "--sub", ADA][..], &["batch", ADA], &["inspect", ADA], &["healthcheck"]] {
            let arguments = [arguments, &["--address", &address]].concat();
            let mut call = command(&arguments);
            let case = format!("{arguments:?}");
            let address = address.clone();
            calls.spawn_blocking(move || {
                let output = call.output().unwrap();
                let said = stderr(&output);
                assert_eq!((code(&output), said.lines().count()), (3, 1), "{case}: {said}");
                assert!(said.contains(cause) && said.contains(&address), "{case}: {said}");
            });
        }
    }
    while let Some(ended) = calls.join_next().await {
        ended.unwrap();
    }
    drop(silent_socket);
}

#[test]
fn a_healthcheck_of_another_port_than_the_admin_port_says_so() {
    let sandbox = Sandbox::start(&[]);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let http1 = answering(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n");
    for (address, expected) in [
        (sandbox.address.clone(), "is not the admin port of the service (`admin_listen`)"),
        (format!("http://{http1}"), "HTTP/1.1 404 Not Found to GET /readyz"),
        (format!("http://{}", silent.local_addr().unwrap()), "is not the admin port of the service"),
        ("http://127.0.0.1:1".to_owned(), "nothing listens there"),
    ] {
        let admin = address.strip_prefix("http://").unwrap();
        let output = run(&["healthcheck"], &[("COGNITO_LOOKUP_ADMIN_LISTEN", admin)]);
        let said = stderr(&output);
        assert_eq!((code(&output), said.lines().count()), (3, 1), "{said}");
        assert!(said.contains(expected) && said.contains(&address), "{said}");
    }
    let admin = sandbox.admin.strip_prefix("http://").unwrap();
    assert_eq!(stdout(&run(&["healthcheck"], &[("COGNITO_LOOKUP_ADMIN_LISTEN", admin)])), "SERVING\n");
}

#[test]
fn a_service_that_takes_too_long_is_told_from_a_wrong_port() {
    let cognito = standin();
    let process = Process::serve(&cognito, "listen = \"127.0.0.1:0\"\n[limits]\nrequest_timeout = \"60s\"");
    process.signal("STOP");
    let stopped = process.client(&["get", "--sub", ADA]).unwrap_err();
    process.signal("CONT");
    assert!(stopped.contains("accepts connections but sends nothing"), "{stopped}");
}

/// A server that answers whatever it is sent with these bytes, and ends the connection.
fn answering(bytes: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            drop(stream.read(&mut [0; 4096]));
            drop(stream.write_all(bytes));
        }
    });
    address
}
