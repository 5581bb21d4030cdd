use std::os::unix::ffi::OsStringExt as _;

use super::{
    super::{Config, ValueSource},
    *,
};

fn load(variables: &[(&str, &str)]) -> Result<Config, Vec<String>> {
    let owned = |(name, value): &(&str, &str)| (format!("{PREFIX}{name}").into(), value.into());
    load_os(variables.iter().map(owned).collect())
}

fn load_os(environment: Vec<(OsString, OsString)>) -> Result<Config, Vec<String>> {
    let sources = Sources { environment, ..Sources::default() };
    Config::load(sources)
        .and_then(Config::validated)
        .map_err(|errors| errors.iter().map(ToString::to_string).collect())
}

#[test]
fn other_variables_are_ignored() {
    for (name, ours) in
        [("COGNITO_LOOKUP_LISTEN", true), ("COGNITO_LOOKUP_", true), ("PATH", false), (TOKEN, false)]
    {
        assert_eq!(is_ours(OsStr::new(name), OsStr::new("x")), ours, "{name}");
    }
}

#[test]
fn one_pool_needs_no_file() {
    let config = load(&[
        ("USER_POOL_ID", "eu-west-1_AbCdEfGhI"),
        ("APP_CLIENTS", "a , b"),
        ("ATTRIBUTES", "name"),
        ("REFLECTION", "false"),
    ])
    .unwrap();
    assert_eq!(config.user_pool_id.as_deref(), Some("eu-west-1_AbCdEfGhI"));
    assert_eq!(config.app_clients, ["a", "b"]);
    assert_eq!(config.attributes, ["name"]);
    assert!(!config.reflection);
    let empty = load(&[("CALLERS__0__NETWORK", "")]).unwrap();
    assert!(empty.callers[0].network.is_empty(), "an empty text is an empty list");
}

#[test]
fn rows_are_added_in_the_order_of_their_index() {
    let names: Vec<String> = (0..12).rev().map(|at| format!("CALLERS__{at}__NAME")).collect();
    let mut variables: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "x")).collect();
    variables.push(("CALLERS__1__APP_CLIENT", "first"));
    let config = load(&variables).unwrap();
    assert_eq!(config.callers.len(), 12);
    assert_eq!(config.callers[1].app_client.as_deref(), Some("first"));
    let set_first = ValueSource::Environment(format!("{PREFIX}CALLERS__1__APP_CLIENT"));
    assert_eq!(config.value_source("callers[1]"), set_first);
}

fn assert_errors(cases: &[(&str, &str, &str)]) {
    for (name, value, expected) in cases {
        let found = load(&[(name, value)]).unwrap_err();
        assert_eq!(found, [format!("{expected} (from environment variable {PREFIX}{name})")]);
    }
}

#[test]
fn a_wrong_name_is_an_error() {
    assert_errors(&[
        (
            "CACHE_FRESH_FOR",
            "1s",
            "cache_fresh_for: is not a setting; did you mean COGNITO_LOOKUP_CACHE__FRESH_FOR?",
        ),
        ("cache__fresh_for", "1s", "COGNITO_LOOKUP_cache__fresh_for: is not the name of a setting"),
        ("LOG.LEVEL", "info", "COGNITO_LOOKUP_LOG.LEVEL: is not the name of a setting"),
        ("", "x", "COGNITO_LOOKUP_: is not the name of a setting"),
        ("CACHE", "1s", "cache: is a table; set the keys in it"),
        ("POOLS__0", "a", "pools[0]: is a table; set the keys in it"),
        ("POOLS__ID", "a", "pools.id: is not a setting"),
        ("APP_CLIENTS__0", "a", "app_clients[0]: is not a setting"),
        ("POOLS__1__ID", "a", "pools[1].id: skips a row; rows are numbered from 0 without gaps"),
        ("POOLS__0__IDD", "a", "pools[0].idd: is not a setting; did you mean COGNITO_LOOKUP_POOLS__0__ID?"),
    ]);
}

#[test]
fn a_wrong_value_is_an_error() {
    assert_errors(&[
        ("REFLECTION", "yes", "reflection: invalid type: string \"yes\", expected a boolean"),
        ("REFLECTION", "1", "reflection: invalid type: string \"1\", expected a boolean"),
        ("LISTEN", "", "listen: is empty; leave it unset for the default"),
        (
            "LISTEN",
            "unix:",
            "listen: \"unix:\" is not an address to listen on; expected one such as 127.0.0.1:50051 or unix:/run/lookup.sock",
        ),
        (
            "SOCKET_MODE",
            "1777",
            "socket_mode: \"1777\" is not a file mode; expected one in octal such as \"0660\"",
        ),
        ("WORKERS", "-1", "workers: \"-1\" is not a whole number; expected one such as 20"),
        ("LIMITS__STREAMS", "1.5", "limits.streams: \"1.5\" is not a whole number; expected one such as 20"),
        ("APP_CLIENTS", "a,,b", "app_clients: an item of the list is empty"),
        ("LOG__FORMAT", "xml", "log.format: unknown value `xml`, expected one of `auto`, `console`, `json`"),
        (
            "CALLERS__0__READS",
            "sometimes",
            "callers[0].reads: unknown value `sometimes`, expected `token` or `any`",
        ),
        (
            "CACHE__FRESH_FOR",
            "60",
            "cache.fresh_for: \"60\" is not a duration; expected one such as 60s or 15min",
        ),
        ("CACHE__MAX_BYTES", "lots", "cache.max_bytes: \"lots\" is not a size; expected one such as 256MiB"),
    ]);
}

#[test]
fn a_variable_that_is_not_utf8_is_an_error() {
    let bytes = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
    let found = load_os(vec![
        (bytes(b"COGNITO_LOOKUP_LISTEN"), bytes(b"\xff")),
        (bytes(b"COGNITO_LOOKUP_\xff"), bytes(b"1")),
        (bytes(b"OTHER_\xff"), bytes(b"\xff")),
    ]);
    let expected = [
        "listen: the value is not UTF-8 (from environment variable COGNITO_LOOKUP_LISTEN)",
        "COGNITO_LOOKUP_\u{fffd}: is not the name of a setting (from environment variable COGNITO_LOOKUP_\u{fffd})",
    ];
    assert_eq!(found.unwrap_err(), expected);
}

#[test]
fn the_file_of_the_flag_wins_over_that_of_the_environment() {
    let environment = vec![("COGNITO_LOOKUP_CONFIG".into(), "/nowhere/a.toml".into())];
    for (file, expected) in [
        (None, "(from environment variable COGNITO_LOOKUP_CONFIG)"),
        (Some("/nowhere/b.toml".into()), "(from flag --config)"),
    ] {
        let environment = environment.clone();
        let sources = Sources { file, environment, ..Sources::default() };
        let found = Config::load(sources).and_then(Config::validated).unwrap_err().to_string();
        assert!(found.starts_with("config: cannot read /nowhere/"), "{found}");
        assert!(found.ends_with(expected), "{found}");
    }
}

#[test]
fn the_last_of_repeated_flags_wins() {
    let flag = |value: &str| Flag { key: "log.level", name: "--log-level", value: value.to_owned() };
    let flags = vec![flag("loud"), flag("debug")];
    let config = Config::load(Sources { flags, ..Sources::default() }).and_then(Config::validated).unwrap();
    assert_eq!(config.log.level, super::super::LogLevel::Debug);
}
