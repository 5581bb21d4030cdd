use std::{
    fs,
    io::{Write as _, pipe},
    os::unix::fs::PermissionsExt as _,
    process::Stdio,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use cognito_lookup::proto::GetUserRequest;
use cognito_standin::SigningKey;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    support::command::{GOOD, Sandbox, code, command, run, settings, stderr, stdout},
    support::forged_tokens::TokenForger,
    support::{ADA, App, WEB},
};

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
        (&["a b"][..], "SUB is not a sub; expected 1 to 128 characters"),
        (&["ada", "--user-pool-id", "eu-west-1_None"], "is not a pool of the settings"),
        (&["ada", "--user-pool-id", "nowhere"], "is not a user pool id; expected REGION_ID"),
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
    for command in ["get", "batch", "inspect", "expire", "erase", "revoke", "explain"] {
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
fn a_reader_that_has_read_enough_ends_the_command_quietly() {
    let sandbox = Sandbox::start(&[]);
    let (folder, file) = settings(GOOD);
    let key = folder.path().join("key");
    fs::write(&key, "00112233445566778899aabbccddeeff\n").unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let address = ["--address", &sandbox.address];
    let called = |arguments: &[&'static str]| [arguments, &address].concat();
    for arguments in [
        vec!["man"],
        vec!["completions", "bash"],
        vec!["version"],
        vec!["--help"],
        vec!["get", "--help"],
        vec!["config", "schema"],
        vec!["config", "check", "--config", &file],
        vec!["config", "print", "--config", &file],
        vec!["audit-hash", "ada", "--config", &file],
        vec!["token", "inspect"],
        called(&["get", "--sub", ADA]),
        called(&["get", "--json", "--sub", ADA]),
        called(&["batch", ADA, "nobody"]),
        called(&["inspect", ADA]),
        called(&["expire", ADA]),
        called(&["erase", ADA, "--yes"]),
        called(&["revoke", ADA]),
        called(&["explain", "web", ADA]),
        called(&["healthcheck"]),
    ] {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        // The other commands call as this machine, which is an administrator.
        let token = if arguments[0] == "token" { sandbox.export("ADA_TOKEN") } else { "" };
        let output = command(&arguments)
            .envs([
                ("COGNITO_LOOKUP_AUDIT__KEY_FILE", key.to_str().unwrap()),
                ("COGNITO_LOOKUP_TOKEN", token),
            ])
            .stdout(writer)
            .output()
            .unwrap();
        assert_eq!((code(&output), stderr(&output).as_str()), (0, ""), "{arguments:?}");
    }
}
