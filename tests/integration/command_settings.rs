use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::PermissionsExt as _,
    process::Stdio,
};

use crate::support::command::{GOOD, code, command, run, settings, stderr, stdout};

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
fn faults_in_several_rows_are_reported_together() {
    let (_folder, file) = settings(
        r#"
[cache]
fresh_for = "soon"
[audit]
required = true
sink = "off"
key_file = "/nowhere/key"
[[pools]]
id = "eu-west-1_AbCdEfGhI"
app_clients = ["a"]
[[pools]]
id = "eu-west-1"
app_clients = ["b"]
external_id = "x1"
[[callers]]
name = "web"
app_client = "a"
attributes = ["nmae"]
[[callers]]
name = "web"
app_client = "a"
network = ["127.0.0.1"]
attributes = []
"#,
    );
    let output = run(&["config", "check", "--config", &file], &[]);
    let said = stderr(&output);
    assert_eq!(code(&output), 2, "{said}");
    for expected in [
        "cache.fresh_for:",
        "audit.required:",
        "audit.key_file:",
        "pools[1].id: \"eu-west-1\" is not a user pool id; expected REGION_ID such as eu-west-1_AbCdEfGhI (from ",
        "pools[1].external_id: requires role_arn",
        "callers[0].attributes[0]:",
        "callers[1].name: is the name of another caller too",
        "callers[1].attributes:",
        "callers[1]:",
    ] {
        assert!(said.contains(expected), "{expected} is missing in:\n{said}");
    }
}

#[test]
fn the_shared_cache_is_checked_with_everything_else() {
    let (folder, file) = settings(&format!(
        "reflection = 3\n[shared_cache]\nurl = \"redis://cache.example:6379\"\nusername = \"lookup\"\n\
         [shared_cache.iam]\ncache = \"lookup-1\"\n{GOOD}"
    ));
    let said = stderr(&run(&["config", "check", "--config", &file], &[]));
    for expected in [
        "reflection:",
        "shared_cache.iam.cache: is in place of shared_cache.username and shared_cache.password_file",
        "settings.toml line 6)",
        "shared_cache.iam.user: must be set to authenticate with IAM (not set)",
        "shared_cache.index_key_file: must be set",
        "shared_cache.value_key_files: must be set",
    ] {
        assert!(said.contains(expected), "{expected} is missing in:\n{said}");
    }
    let [index, value] = ["index", "value"].map(|name| {
        let path = folder.path().join(name).display().to_string();
        fs::write(&path, format!("00112233445566778899aabbccddeeff {name}")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    });
    for (url, warning) in
        [("redis://127.0.0.1", None), ("redis://cache.example", Some("is without TLS to another machine"))]
    {
        let keys = format!("index_key_file = {index:?}\nvalue_key_files = [{value:?}]");
        fs::write(&file, format!("[shared_cache]\nurl = {url:?}\n{keys}\n{GOOD}")).unwrap();
        let output = run(&["config", "check", "--strict", "--config", &file], &[]);
        let said = stderr(&output);
        assert_eq!(code(&output), if warning.is_some() { 2 } else { 0 }, "{url}: {said}");
        let expected = warning.map(|warning| format!("warning: shared_cache.url {warning}"));
        assert!(expected.is_none_or(|expected| said.contains(&expected)), "{url}: {said}");
    }
    for (budget, warning) in [
        ("user_reads_per_second = 96", None),
        (
            "user_reads_per_second = 110",
            Some("warning: budget.user_reads_per_second lets all replicas together"),
        ),
        ("scope = \"own\"\nuser_reads_per_second = 110", None),
    ] {
        let keys = format!("index_key_file = {index:?}\nvalue_key_files = [{value:?}]");
        let shared = format!("[shared_cache]\nurl = \"redis://127.0.0.1\"\n{keys}");
        fs::write(&file, format!("[budget]\n{budget}\n{shared}\n{GOOD}")).unwrap();
        let output = run(&["config", "check", "--strict", "--config", &file], &[]);
        let said = stderr(&output);
        // Right if the account's quota was raised.
        assert_eq!(code(&output), 0, "{budget}: {said}");
        assert_eq!(said.contains("together exceed Cognito's default quota"), warning.is_some(), "{said}");
        assert!(warning.is_none_or(|warning| said.contains(warning)), "{budget}: {said}");
    }
}

#[test]
fn the_printed_settings_are_a_file_with_the_same_settings() {
    let (folder, file) = settings(GOOD);
    let single = [
        ("COGNITO_LOOKUP_USER_POOL_ID", "eu-west-1_AbCdEfGhI"),
        ("COGNITO_LOOKUP_APP_CLIENTS", "one,two"),
        ("COGNITO_LOOKUP_ATTRIBUTES", "name,email"),
        ("COGNITO_LOOKUP_CACHE__FRESH_FOR", "5s"),
    ];
    let from_file = ["config", "print", "--config", &file, "--log-level", "debug"];
    for (arguments, variables) in [(&from_file[..], &[][..]), (&["config", "print"], &single)] {
        let output = run(arguments, variables);
        let printed = stdout(&output);
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        let again = folder.path().join("printed.toml");
        fs::write(&again, &printed).unwrap();
        let reprinted = stdout(&run(&["config", "print", "--config", again.to_str().unwrap()], &[]));
        let values = |text: &str| -> Vec<String> {
            let lines = text.lines().filter(|line| !line.starts_with('#'));
            lines.map(|line| line.split("  # ").next().unwrap().to_owned()).collect()
        };
        assert_eq!(values(&reprinted), values(&printed), "{printed}");
        assert!(
            printed.contains("\n[[pools]]\n")
                && printed.contains("# region = \"eu-west-1\"  # derived from id")
        );
    }
    let printed = stdout(&run(&["config", "print"], &single));
    for expected in [
        "fresh_for = \"5s\"  # environment variable COGNITO_LOOKUP_CACHE__FRESH_FOR",
        "# id = \"eu-west-1_AbCdEfGhI\"  # derived from user_pool_id",
        "# name = \"two\"  # derived from app_clients",
        "request_timeout = \"3s\"  # default",
    ] {
        assert!(printed.lines().any(|line| line == expected), "{expected} is missing in:\n{printed}");
    }
}

#[test]
fn wrong_settings_are_not_printed() {
    let (_folder, file) = settings(&GOOD.replace("3n4b5urk1ft4fl3mg5e62d9ado\"]", "other\"]"));
    for arguments in [&["config", "print"][..], &["config", "print", "--config", &file]] {
        let output = run(arguments, &[]);
        assert_eq!((code(&output), stdout(&output).as_str()), (2, ""), "{arguments:?}");
    }
    let (_folder, file) =
        settings(&format!("[tls]\ncertificate = \"/elsewhere/c\"\nkey = \"/elsewhere/k\"\n{GOOD}"));
    let output = run(&["config", "print", "--config", &file], &[]);
    assert_eq!(code(&output), 0, "files of another machine: {}", stderr(&output));
}

#[test]
fn a_strict_check_fails_on_what_is_valid_but_unwise() {
    const KEYED: &str = "[audit]\nsink = \"stdout\"\n";
    let network = "[[callers]]\nname = \"net\"\nreads = \"any\"\nattributes = [\"*\"]\nnetwork = ";
    for (text, warning) in [
        (format!("{KEYED}{GOOD}"), ""),
        (format!("{GOOD}{network}[\"127.0.0.1/32\"]"), ""),
        (format!("{GOOD}{network}[\"0.0.0.0/0\"]"), "\"net\" may be anyone, who then reads every attribute"),
        (format!("{GOOD}{network}[\"::/0\"]"), "\"net\" may be anyone, who then reads every attribute"),
        (format!("{GOOD}{network}[\"10.0.0.0/8\"]"), "\"net\" on a remote network needs no credential"),
        (format!("{GOOD}{network}[\"unix\"]"), "\"net\" has no network that can connect to listen"),
        (
            format!("listen = \"unix:/run/x\"\nsocket_mode = \"0666\"\n{GOOD}{network}[\"unix\"]"),
            "may be every user of this machine",
        ),
        (format!("listen = \"0.0.0.0:50051\"\n{GOOD}"), "are sent in cleartext"),
        (format!("listen = \"127.0.0.1:9090\"\n{GOOD}"), "admin_listen has the port of listen"),
        (format!("admin_listen = \"0.0.0.0:50051\"\n{GOOD}"), "admin_listen has the port of listen"),
        (format!("[shutdown]\ngrace = \"1s\"\n{GOOD}"), "shutdown.grace is shorter"),
        (format!("[limits]\nrequest_timeout = \"100ms\"\n{GOOD}"), "limits.request_timeout is shorter"),
        (format!("[cache]\nfresh_for = \"2h\"\nusable_for = \"3h\"\n{GOOD}"), "cache.fresh_for is longer"),
        (format!("[audit]\nsink = \"off\"\n{GOOD}"), "nothing records who read what"),
        (
            format!("[budget]\nscope = \"shared\"\n{GOOD}"),
            "without shared_cache.url each replica has the rate limit",
        ),
        (
            GOOD.replace("[[callers]]", "jwks_url = \"http://keys.example\"\n[[callers]]"),
            "not AWS's own over HTTPS",
        ),
    ] {
        let (_folder, file) = settings(&text);
        let [lax, strict] = [&[][..], &["--strict"]]
            .map(|flag| run(&[&["config", "check", "--config", &file], flag].concat(), &[]));
        let said = stderr(&strict);
        assert_eq!(
            (code(&lax), stdout(&lax).as_str()),
            (0, "the settings are valid\n"),
            "{text}: {}",
            stderr(&lax)
        );
        assert_eq!(code(&strict), if warning.is_empty() { 0 } else { 2 }, "{text}: {said}");
        assert!(said.contains(warning) && stderr(&lax).contains(warning), "{warning} is missing in: {said}");
        // A default is warned of, but does not fail a strict check.
        let is_keyless = said.contains("audit.key_file is not set");
        assert_eq!(is_keyless, !text.contains("sink = \"off\""), "{said}");
    }
}

#[test]
fn a_strict_check_passes_with_usual_risks_and_defaults_and_lists_them() {
    let network = "[[callers]]\nname = \"net\"\nreads = \"any\"\nattributes = [\"*\"]\nnetwork = ";
    let other = |region, more| {
        format!("{GOOD}[[pools]]\nid = \"{region}_Other\"\napp_clients = [\"other\"]\n{more}\n")
    };
    let account = "account = \"123456789012\"";
    for (text, warning, is_listed) in [
        (format!("{GOOD}{network}[\"127.0.0.1/32\"]"), "\"net\" on loopback needs no credential", true),
        (format!("{GOOD}{network}[\"127.0.0.1/32\"]\nproxied = true"), "on loopback", false),
        (format!("listen = \"unix:/run/x\"\n{GOOD}{network}[\"unix\", \"::1/128\"]"), "on loopback", false),
        (other("eu-west-1", account), "set pools[0].account", true),
        (
            other("eu-west-1", "role_arn = \"arn:aws:iam::123456789012:role/lookup\""),
            "set pools[0].account",
            true,
        ),
        (other("eu-west-1", ""), "a rate limit of its own", false),
        (other("eu-west-2", account), "a rate limit of its own", false),
    ] {
        let (_folder, file) = settings(&text);
        let output = run(&["config", "check", "--strict", "--config", &file], &[]);
        let (said, code) = (stderr(&output), code(&output));
        assert_eq!(said.contains(warning), is_listed, "{text}: {said}");
        assert!(!is_listed || code == 0, "{text}: {said}");
    }
}

/// Kubernetes sets them in every pod of a namespace with a Service `cognito-lookup`.
#[test]
fn the_variables_of_a_kubernetes_service_are_ignored() {
    const LINKS: [(&str, &str); 8] = [
        ("COGNITO_LOOKUP_SERVICE_HOST", "10.0.0.1"),
        ("COGNITO_LOOKUP_SERVICE_PORT", "50051"),
        ("COGNITO_LOOKUP_SERVICE_PORT_GRPC", "50051"),
        ("COGNITO_LOOKUP_PORT", "tcp://10.0.0.1:50051"),
        ("COGNITO_LOOKUP_PORT_50051_TCP", "tcp://10.0.0.1:50051"),
        ("COGNITO_LOOKUP_PORT_50051_TCP_ADDR", "10.0.0.1"),
        ("COGNITO_LOOKUP_PORT_50051_TCP_PORT", "50051"),
        ("COGNITO_LOOKUP_PORT_50051_TCP_PROTO", "tcp"),
    ];
    let (folder, file) =
        settings(&format!("listen = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\n{GOOD}"));
    let key = folder.path().join("key");
    fs::write(&key, "00112233445566778899aabbccddeeff\n").unwrap();
    let keyed = [&LINKS[..], &[("COGNITO_LOOKUP_AUDIT__KEY_FILE", key.to_str().unwrap())]].concat();
    for arguments in [&["config", "check"][..], &["config", "print"], &["audit-hash", "ada"]] {
        let output = run(&[arguments, &["--config", &file]].concat(), &keyed);
        assert_eq!(code(&output), 0, "{arguments:?}: {}", stderr(&output));
    }
    let checked = run(&["healthcheck", "--admin-listen", "127.0.0.1:1"], &LINKS);
    assert_eq!(code(&checked), 3, "{}", stderr(&checked));
    let mut serve = command(&["serve", "--config", &file]);
    let mut process = serve.envs(LINKS).stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(process.stderr.take().unwrap()).lines().map_while(Result::ok);
    let started = log.any(|line| line.contains("\"message\":\"listening\""));
    process.kill().unwrap();
    process.wait().unwrap();
    assert!(started);
    for misspelt in [
        ("COGNITO_LOOKUP_PORT", "50051"),
        ("COGNITO_LOOKUP_ADMIN_PORT", "9090"),
        ("COGNITO_LOOKUP_LISTNE", "x"),
    ] {
        let output = run(&["config", "check", "--config", &file], &[misspelt]);
        assert!(code(&output) == 2 && stderr(&output).contains("is not a setting"), "{}", stderr(&output));
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
