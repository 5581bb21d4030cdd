use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    process::{Child, Command, Output, Stdio},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use cognito_lookup::{
    config::{CallerSettings, ClientCertificate, Reads},
    proto::GetUserRequest,
};
use cognito_standin::SigningKey;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    support::certificates::{Authority, Files},
    support::forged_tokens::TokenForger,
    support::{ADA, App, BOB, GRACE, WEB, standin},
};

const GOOD: &str = r#"
[[pools]]
id = "eu-west-1_AbCdEfGhI"
app_clients = ["3n4b5urk1ft4fl3mg5e62d9ado"]

[[callers]]
name = "web"
app_client = "3n4b5urk1ft4fl3mg5e62d9ado"
reads = "token"
attributes = ["name", "email"]
"#;

#[test]
fn valid_settings_pass_the_check() {
    let (folder, file) = settings(GOOD);
    let output = run(&["config", "check", "--config", &file], &[]);
    assert_eq!((code(&output), stdout(&output).trim()), (0, "the settings are valid"));
    drop(folder);
    let one_pool = [
        ("COGNITO_LOOKUP_USER_POOL_ID", "eu-west-1_AbCdEfGhI"),
        ("COGNITO_LOOKUP_APP_CLIENTS", "3n4b5urk1ft4fl3mg5e62d9ado"),
        ("COGNITO_LOOKUP_ATTRIBUTES", "name,email"),
    ];
    assert_eq!(code(&run(&["config", "check"], &one_pool)), 0, "one pool needs no file");
}

#[test]
fn every_error_is_reported_with_its_source() {
    let (_folder, file) = settings(
        r#"colour = "red"
[cache]
fresh_for = "soon"
[[pools]]
id = "nowhere"
app_clients = ["a"]
[[callers]]
name = "web"
app_client = "b"
attributes = []
"#,
    );
    for command in [&["config", "check"][..], &["serve"]] {
        let arguments = [command, &["--config", &file, "--listen", "nowhere"]].concat();
        let output = run(&arguments, &[("COGNITO_LOOKUP_LIMITS__REQUEST_TIMEOUT", "1h")]);
        assert_eq!(code(&output), 2);
        let said = stderr(&output);
        for expected in [
            "colour: is not a setting (",
            "settings.toml line 1)",
            "cache.fresh_for:",
            "settings.toml line 3)",
            "pools[0].id:",
            "settings.toml line 5)",
            "callers[0].attributes:",
            "settings.toml line 10)",
            "(from environment variable COGNITO_LOOKUP_LIMITS__REQUEST_TIMEOUT)",
            "(from flag --listen)",
        ] {
            assert!(said.contains(expected), "{expected} is missing in:\n{said}");
        }
    }
}

#[test]
fn without_settings_the_required_ones_are_named() {
    let output = run(&["serve"], &[]);
    let said = stderr(&output);
    assert_eq!(code(&output), 2);
    assert!(said.contains("user_pool_id") && said.contains("[[callers]]"), "{said}");
    assert!(said.contains("(not set)") && !said.contains("default"), "{said}");
}

#[test]
fn errors_of_the_single_pool_settings_hide_those_derived_from_them() {
    let half = [("COGNITO_LOOKUP_USER_POOL_ID", "eu-west-1_AbCdEfGhI")];
    let expected = "cognito-lookup: the settings are wrong:
app_clients: must be set where user_pool_id is (not set)
attributes: must be set where user_pool_id is (not set)
";
    let (_folder, file) = settings(GOOD);
    let arguments = ["config", "check", "--config", &file];
    assert_eq!(stderr(&run(&["config", "check"], &half)), expected);
    let beside = stderr(&run(&arguments, &half));
    let expected = "cognito-lookup: the settings are wrong:
user_pool_id: is for a single pool, and [[pools]] is set too; use one of the two (from environment variable COGNITO_LOOKUP_USER_POOL_ID)
";
    assert_eq!(beside, expected);
    let item = [half[0], ("COGNITO_LOOKUP_APP_CLIENTS", "a,,b"), ("COGNITO_LOOKUP_ATTRIBUTES", "name")];
    let expected = "cognito-lookup: the settings are wrong:
app_clients: an item of the list is empty (from environment variable COGNITO_LOOKUP_APP_CLIENTS)
";
    assert_eq!(stderr(&run(&["config", "check"], &item)), expected);
}

#[test]
fn every_setting_is_printed_with_its_source() {
    let (_folder, file) = settings(GOOD);
    let output = run(
        &["config", "print", "--config", &file, "--log-level", "debug"],
        &[("COGNITO_LOOKUP_CACHE__FRESH_FOR", "5s")],
    );
    let said = stdout(&output);
    for expected in [
        "cache.fresh_for = 5s  # environment variable COGNITO_LOOKUP_CACHE__FRESH_FOR",
        "log.level = debug  # flag --log-level",
        "limits.request_timeout = 3s  # default",
    ] {
        assert!(said.contains(expected), "{expected} is missing in:\n{said}");
    }
}

#[test]
fn audit_hash_prints_the_hash_of_a_user() {
    // printf 'eu-west-1_AbCdEfGhI\0ada' | openssl dgst -sha256 -hmac
    // 00112233445566778899aabbccddeeff
    const ADA: &str = "1b453645aa1130a7090e85ca101c3bcac5599d4c057428233cfe491d6825fa32";
    const ADA_ELSEWHERE: &str = "5306af67891ad2ade07d473fe799e60493086248c0113ef173406a69bb9ce20a";
    let (folder, file) =
        settings(&format!("{GOOD}[[pools]]\nid = \"eu-west-1_Other\"\napp_clients = [\"x\"]\n"));
    let key = folder.path().join("key");
    fs::write(&key, "00112233445566778899aabbccddeeff\n").unwrap();
    let keyed = [("COGNITO_LOOKUP_AUDIT__KEY_FILE", key.to_str().unwrap())];
    let hashes = |arguments: &[&str]| run(&[&["audit-hash", "--config", &file], arguments].concat(), &keyed);
    assert_eq!(stdout(&hashes(&["ada"])), format!("{ADA}\n{ADA_ELSEWHERE}\n"));
    assert_eq!(stdout(&hashes(&["ada", "--user-pool-id", "eu-west-1_Other"])), format!("{ADA_ELSEWHERE}\n"));
    let mut reading = command(&["audit-hash", "-", "--config", &file])
        .envs(keyed)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    reading.stdin.take().unwrap().write_all(b"ada\n").unwrap();
    assert!(stdout(&reading.wait_with_output().unwrap()).starts_with(ADA));

    for (arguments, expected) in [
        (&["a b"][..], "SUB is no sub"),
        (&["ada", "--user-pool-id", "eu-west-1_None"], "is not a pool of the settings"),
        (&["ada", "--user-pool-id", "nowhere"], "is no user pool id"),
    ] {
        let output = hashes(arguments);
        assert!(code(&output) == 2 && stderr(&output).contains(expected), "{}", stderr(&output));
    }
    let output = run(&["audit-hash", "ada", "--config", &file], &[]);
    let expected = "audit.key_file: must be set: without it each start uses another key (not set)";
    assert!(code(&output) == 2 && stderr(&output).contains(expected), "{}", stderr(&output));
    fs::write(&key, "changeme").unwrap();
    let output = run(&["config", "check", "--config", &file], &keyed);
    let expected = "has fewer than 32 bytes; create a key with `openssl rand -hex 32` (from environment variable COGNITO_LOOKUP_AUDIT__KEY_FILE)";
    assert!(code(&output) == 2 && stderr(&output).contains(expected), "{}", stderr(&output));
}

#[test]
fn version_prints_the_version() {
    let expected = format!("cognito-lookup {}", env!("CARGO_PKG_VERSION"));
    assert_eq!(stdout(&run(&["version"], &[])).trim(), expected);
}

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
fn the_sandbox_answers_and_drains() {
    let sandbox = Sandbox::start(&[]);
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
        code(&refused) == 2 && stderr(&refused).contains("subs line 3: is no sub"),
        "{}",
        stderr(&refused)
    );
}

#[test]
fn token_inspect_applies_the_rules_of_the_service() {
    let sandbox = Sandbox::start(&[]);
    let good = sandbox.export("ADA_TOKEN").to_owned();
    let claims: Vec<_> = good.split('.').collect();
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims[1]).unwrap()).unwrap();
    let issuer = claims["iss"].as_str().unwrap().to_owned();
    let keys = format!("{issuer}/.well-known/jwks.json");
    let pool = ["--user-pool-id", "eu-west-1_Sandbox01", "--issuer", &issuer, "--jwks-url", &keys];
    let inspect = |token: &str, arguments: &[&str]| {
        run(&[&["token", "inspect"], arguments].concat(), &[("COGNITO_LOOKUP_TOKEN", token)])
    };
    let told = inspect(&good, &pool);
    assert_eq!(code(&told), 0, "{}", stderr(&told));
    let text = stdout(&told);
    assert!(text.contains("valid: a user's access token") && text.contains("token_use       access"));
    assert!(!text.contains(ADA) && !text.contains("engineers"), "{text}");
    assert!(!text.contains(good.rsplit('.').next().unwrap()), "the signature");
    assert!(stdout(&inspect(&good, &["--personal"])).contains("engineers"));

    let (head, signature) = good.rsplit_once('.').unwrap();
    let flipped = if signature.starts_with('A') { "B" } else { "A" };
    let forged = format!("{head}.{flipped}{}", &signature[1..]);
    let other = [&pool[..], &["--app-client", "another"]].concat();
    let elsewhere = ["--user-pool-id", "eu-west-1_Other"];
    for (token, arguments, reason) in [
        ("x", &[][..], "not one compact RS256 token"),
        (&forged, &pool[..], "its signature was not made with the pool's key"),
        (&good, &other, "its client_id is not among the pool's app_clients"),
        (&good, &elsewhere, "its iss is not that of a configured pool"),
    ] {
        let told = inspect(token, arguments);
        assert!(stderr(&told).contains(reason), "{reason}: {}", stderr(&told));
        assert_eq!(code(&told), 5, "{reason}");
    }
    assert_eq!(code(&run(&["token", "inspect"], &[])), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn token_inspect_agrees_with_the_service() {
    let app = App::start().await;
    let forger = TokenForger::with_key(&app.cognito, SigningKey::Access);
    let (header, claims) =
        (app.cognito.header(SigningKey::Access), app.cognito.access_claims("ada").unwrap());
    let now = claims["iat"].as_u64().unwrap();
    let with_claim = |name: &str, value: Value| {
        let mut claims = claims.clone();
        claims[name] = value;
        forger.token(header.to_string(), claims.to_string())
    };
    let with_member = |member: &[u8]| {
        let text = [b"{", member, b",", &claims.to_string().as_bytes()[1..]].concat();
        [
            forger.token(header.to_string(), text),
            forger.token(
                [b"{", member, b",", &header.to_string().as_bytes()[1..]].concat(),
                claims.to_string(),
            ),
        ]
    };
    let mut tokens = vec![
        ("a good one", app.token("ada")),
        ("an ID token", app.cognito.id_token("ada").unwrap()),
        ("odd groups", with_claim("cognito:groups", json!("staff"))),
        ("a fraction", with_claim("iat", json!(now as f64 - 0.5))),
        ("a date that is too late", with_claim("exp", json!(1e12))),
        ("a date beyond any", with_claim("exp", json!(1e300))),
        ("a date as text", with_claim("exp", json!("1999999999"))),
        ("another app client", with_claim("client_id", json!("a-b"))),
        ("a token use that is a list", with_claim("token_use", json!(["access"]))),
        ("no token", "x.y".to_owned()),
        ("a control character", format!("{}\u{7}", app.token("ada"))),
        ("a padded part", app.token("ada").replacen('.', "=.", 1)),
    ];
    let digits = [b"\"n\":".to_vec(), vec![b'9'; 400]].concat();
    for (case, member) in [
        ("400 digits that are not read", digits.as_slice()),
        ("invalid UTF-8 that is not read", b"\"x\":\"\xc0\xaf\""),
        ("half of a surrogate pair that is not read", br#""x":"\ud800""#),
        ("a member twice that is not read", br#""x":1,"x":2"#),
    ] {
        tokens.extend(with_member(member).map(|token| (case, token)));
    }
    let (pool, issuer, keys) = (app.cognito.pool_id(), app.cognito.issuer(), app.cognito.jwks_url());
    let pool = ["--user-pool-id", pool, "--issuer", issuer, "--jwks-url", &keys, "--app-client", WEB];
    let mut accepted = 0;
    for (case, token) in tokens {
        let told = run(&[&["token", "inspect"], &pool[..]].concat(), &[("COGNITO_LOOKUP_TOKEN", &token)]);
        let message = GetUserRequest { access_token: token, ..GetUserRequest::default() };
        let answered = app.get_user(tonic::Request::new(message)).await;
        let expected = if answered.is_ok() { 0 } else { 5 };
        assert_eq!(code(&told), expected, "{case}: {answered:?}, {} {}", stdout(&told), stderr(&told));
        if answered.is_ok() {
            let text = stdout(&told);
            assert!(
                ["alg  ", "kid  ", "client_id  "].iter().all(|name| text.contains(name)),
                "{case}: {text}"
            );
            accepted += 1;
        }
    }
    assert_eq!(accepted, 5);
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

#[test]
fn completions_and_manual_pages_cover_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let script = stdout(&run(&["completions", shell], &[]));
        assert!(script.contains("erase") && script.contains("token-file"), "{shell}");
    }
    assert!(stdout(&run(&["man"], &[])).contains("cognito\\-lookup"));
    let folder = TempDir::new().unwrap();
    assert_eq!(code(&run(&["man", folder.path().to_str().unwrap()], &[])), 0);
    let page = fs::read_to_string(folder.path().join("cognito-lookup-batch.1")).unwrap();
    assert!(page.contains("one sub a line"));
}

#[test]
fn help_describes_every_option() {
    for command in ["get", "batch", "inspect", "expire", "erase", "explain"] {
        let help = stdout(&run(&[command, "--help"], &[]));
        for option in ["--address", "--ca-file", "--certificate-file", "--key-file", "--token-file", "--json"]
        {
            assert!(help.contains(option), "{command} {option}");
        }
        for line in help.lines().filter(|line| line.trim_start().starts_with("--")) {
            assert!(line.trim().contains("  "), "{command}: no word about {line}");
        }
    }
    let help = stdout(&run(&["--help"], &[]));
    assert!(help.contains("Exit codes:") && (0..=7).all(|code| help.contains(&format!("  {code}  "))));
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

#[test]
fn an_endpoint_from_the_environment_is_warned_about() {
    let (_folder, file) =
        settings(&format!("listen = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\n{GOOD}"));
    for (diverted, variables) in [(true, &[("AWS_ENDPOINT_URL", "http://127.0.0.1:1")][..]), (false, &[])] {
        let mut serve = command(&["serve", "--config", &file]);
        let mut process = serve.envs(variables.iter().copied()).stderr(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(process.stderr.take().unwrap()).lines().map_while(Result::ok);
        let started: Vec<_> = log.take_while(|line| !line.contains("\"message\":\"listening\"")).collect();
        process.kill().unwrap();
        process.wait().unwrap();
        let warned = started.iter().any(|line| line.contains("sends this pool's calls to another endpoint"));
        assert_eq!(warned, diverted, "{started:?}");
    }
}

#[test]
fn a_second_signal_ends_the_process_at_once() {
    let (_folder, file) = settings(&format!(
        "listen = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\n[shutdown]\ndelay = \"10min\"\n{GOOD}"
    ));
    let mut process = command(&["serve", "--config", &file]).stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(process.stderr.take().unwrap()).lines().map_while(Result::ok);
    let kill = || Command::new("kill").arg(process.id().to_string()).status().unwrap();
    assert!(log.any(|line| line.contains("\"message\":\"listening\"")));
    assert!(kill().success());
    assert!(log.any(|line| line.contains("\"message\":\"stopping\"")));
    assert!(kill().success());
    assert!(log.any(|line| line.contains("second signal")));
    assert_eq!(process.wait().unwrap().code(), Some(1));
}

const ANY_PORT: &[&str] =
    &["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--cognito", "127.0.0.1:0"];

/// A process of the `sandbox` command, killed on drop.
struct Sandbox {
    process: Child,
    address: String,
    exports: Vec<(String, String)>,
}

impl Sandbox {
    fn start(arguments: &[&str]) -> Self {
        let fixed = [&["sandbox"], ANY_PORT].concat();
        let mut process = command(&[&fixed[..], arguments].concat())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let banner = BufReader::new(process.stdout.take().unwrap());
        let log = BufReader::new(process.stderr.take().unwrap());
        let serving = log.lines().map_while(Result::ok).any(|line| line.contains("\"message\":\"serving\""));
        assert!(serving, "the sandbox ended before it served");
        let lines =
            banner.lines().map_while(Result::ok).take_while(|line| !line.starts_with("# by access token"));
        let lines: Vec<String> = lines.collect();
        let address =
            lines.iter().find_map(|line| line.trim().strip_prefix("gRPC")?.trim().split(' ').next());
        let exports = lines.iter().filter_map(|line| line.strip_prefix("export ")?.split_once('='));
        let exports = exports.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Self { address: format!("http://{}", address.unwrap()), exports, process }
    }

    fn export(&self, name: &str) -> &str {
        &self.exports.iter().find(|(known, _)| known == name).unwrap().1
    }

    fn terminate(mut self) -> Option<i32> {
        let process = self.process.id().to_string();
        assert!(Command::new("kill").arg(process).status().unwrap().success());
        self.process.wait().unwrap().code()
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn settings(text: &str) -> (TempDir, String) {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("settings.toml");
    fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap().to_owned();
    (folder, file)
}

fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    command(arguments).envs(environment.iter().copied()).output().unwrap()
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cognito-lookup"));
    command.args(arguments).env_clear().env("AWS_EC2_METADATA_DISABLED", "true");
    command
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}
