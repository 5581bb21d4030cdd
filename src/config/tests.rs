use std::time::Duration;

use serde_json::Value;

use super::*;

/// Returns sources, and the directory of their file, which is removed on drop.
fn sources(file: &str, variables: &[(&str, &str)], flags: &[Flag]) -> (tempfile::TempDir, Sources) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("settings.toml");
    std::fs::write(&path, file).unwrap();
    let sources = Sources {
        file: Some(path),
        environment: variables
            .iter()
            .map(|(name, value)| (format!("COGNITO_LOOKUP_{name}").into(), value.into()))
            .collect(),
        flags: flags.to_vec(),
        memory_limit: None,
    };
    (directory, sources)
}

fn load(file: &str, variables: &[(&str, &str)], flags: &[Flag]) -> Result<Config, String> {
    let (directory, sources) = sources(file, variables, flags);
    let prefix = format!("{}/", directory.path().display());
    Config::merge(sources)
        .and_then(Config::validated)
        .map_err(|errors| errors.to_string().replace(&prefix, ""))
}

fn errors(file: &str, variables: &[(&str, &str)], flags: &[Flag]) -> Vec<String> {
    let errors = load(file, variables, flags).unwrap_err();
    errors.lines().map(str::to_owned).collect()
}

fn flag(key: &'static str, name: &'static str, value: &str) -> Flag {
    let value = value.to_owned();
    Flag { key, name, value }
}

fn source(config: &Config, key: &str) -> String {
    let value_source = config.value_source(key).to_string();
    value_source.rsplit('/').next().unwrap().to_owned()
}

const FILE: &str = r#"
reflection = false
attributes = ["name", "email"]

[cache]
fresh_for = "2min"
max_bytes = 2097152

[[pools]]
id = "eu-west-1_AbCdEfGhI"
app_clients = ["a"]

[[callers]]
name = "web"

[[callers]]
name = "sidecar"
network = [
  "127.0.0.1/32",
  "::1/128",
]
reads = "any"
"#;

#[test]
fn without_sources_the_defaults_apply() {
    let config = Config::load(Sources::default()).unwrap();
    assert_eq!(format!("{config:?}"), format!("{:?}", Config::default()));
    assert_eq!(config.listen.to_string(), "127.0.0.1:50051");
    assert_eq!(config.cache.max_bytes, 268_435_456);
    assert_eq!(config.value_source("cache.fresh_for"), ValueSource::Default);
}

#[test]
fn each_source_wins_over_the_one_below() {
    let variable = [("CACHE__FRESH_FOR", "3min")];
    let flags = [flag("cache.fresh_for", "--fresh-for", "4min")];
    for (file, variables, flags, minutes, value_source) in [
        ("", &[][..], &[][..], 1, "default"),
        (FILE, &[], &[], 2, "settings.toml line 6"),
        (FILE, &variable, &[], 3, "environment variable COGNITO_LOOKUP_CACHE__FRESH_FOR"),
        (FILE, &variable, &flags, 4, "flag --fresh-for"),
        (FILE, &[], &flags, 4, "flag --fresh-for"),
    ] {
        let config = load(file, variables, flags).unwrap();
        assert_eq!(config.cache.fresh_for, Duration::from_secs(60 * minutes), "{value_source}");
        assert_eq!(source(&config, "cache.fresh_for"), value_source);
    }
}

#[test]
fn a_file_sets_every_kind_of_key() {
    let config = load(FILE, &[], &[]).unwrap();
    assert!(!config.reflection);
    assert_eq!(config.attributes, ["name", "email"]);
    assert_eq!(config.cache.max_bytes, 2_097_152);
    assert_eq!(config.pools[0].app_clients, ["a"]);
    assert_eq!(config.callers[0].reads, Reads::Token);
    assert_eq!(config.callers[1].reads, Reads::Any);
    assert_eq!(config.callers[1].network, ["127.0.0.1/32", "::1/128"]);
}

#[test]
fn a_value_source_is_the_line_or_that_of_the_parent() {
    let config = load(FILE, &[("POOLS__0__REGION", "eu-west-1")], &[]).unwrap();
    for (key, value_source) in [
        ("reflection", "settings.toml line 2"),
        ("cache.absent_for", "default"),
        ("pools[0]", "settings.toml line 9"),
        ("pools[0].id", "settings.toml line 10"),
        ("pools[0].region", "environment variable COGNITO_LOOKUP_POOLS__0__REGION"),
        ("pools[0].issuer", "settings.toml line 9"),
        ("callers[1]", "settings.toml line 16"),
        ("callers[1].network[1]", "settings.toml line 18"),
        ("callers", "default"),
    ] {
        assert_eq!(source(&config, key), value_source, "{key}");
    }
}

#[test]
fn the_settings_as_toml_are_the_same_settings() {
    let single = [
        ("USER_POOL_ID", "eu-west-1_A"),
        ("APP_CLIENTS", "one,two"),
        ("ATTRIBUTES", "name,email"),
        ("POOLS__0__ENDPOINT_URL", "http://127.0.0.1:9229"),
    ];
    let awkward = r#"
listen = "unix:/run/a \"b\"\\\u007f\u009b\té.sock"
reflection = false
workers = 3
[cache]
fresh_for = "90s"
max_bytes = 2097153
[budget]
lists_per_second = 5
[shared_cache]
urls = ["rediss://a.example", "rediss://b.example"]
mode = "cluster"
timeout = "20ms"
[shared_cache.iam]
cache = "lookup"
serverless = true
[[pools]]
id = "eu-west-1_A"
app_clients = ["a", "b"]
federated = true
[[pools]]
id = "eu-west-1_B"
app_clients = []
[[callers]]
name = "x # y"
network = ["unix"]
reads = "any"
attributes = ["*"]
misses_per_second = 7
"#;
    for (file, variables) in
        [("", &[][..]), (awkward, &[("LISTEN", "[::1]:0")]), (awkward, &[]), ("", &single)]
    {
        let (_directory, first) = sources(file, variables, &[]);
        let first = Config::load(first).unwrap();
        let text = first.to_toml(&BTreeMap::new());
        let (_directory, second) = sources(&text, &[], &[]);
        let second = Config::load(second).unwrap().validated().unwrap();
        assert_eq!(json(&second), json(&first), "{text}");
        assert_eq!(without_comments(&second.to_toml(&BTreeMap::new())), without_comments(&text));
    }
}

#[test]
fn the_settings_as_toml_say_where_each_comes_from() {
    let config = load(FILE, &[("APP_CLIENTS", "a, b")], &[]).unwrap();
    let derived = [("pools[0].region".to_owned(), ("eu-west-1".to_owned(), "id"))];
    let text = config.to_toml(&derived.into());
    for line in [
        "app_clients = [\"a\",\"b\"]  # environment variable COGNITO_LOOKUP_APP_CLIENTS",
        "# user_pool_id is not set",
        "bare_sub = \"admin-get-user\"  # default",
        "# region = \"eu-west-1\"  # derived from id",
        "# issuer is not set",
        "grace = \"20s\"  # default",
    ] {
        assert!(text.lines().any(|own| own == line), "{line} is missing in\n{text}");
    }
    assert!(
        text.lines().any(|line| line.starts_with("max_bytes = \"2MiB\"  # ") && line.ends_with(" line 7"))
    );
    let headers: Vec<_> = text.lines().filter(|line| line.starts_with('[')).collect();
    assert_eq!(headers[..4], ["[[pools]]", "[[callers]]", "[[callers]]", "[cache]"]);
}

#[test]
fn what_a_single_pool_is_turned_into_is_shown_as_derived() {
    let variables = [("USER_POOL_ID", "eu-west-1_A"), ("APP_CLIENTS", "one"), ("ATTRIBUTES", "name")];
    let (_directory, sources) = sources("", &variables, &[]);
    let text = Config::load(sources).unwrap().to_toml(&BTreeMap::new());
    for lines in [
        "\n[[pools]]\n# id = \"eu-west-1_A\"  # derived from user_pool_id\n",
        "\n# [[callers]]\n# name = \"one\"  # derived from app_clients\n",
        "\n# attributes = [\"name\"]  # derived from attributes\n",
    ] {
        assert!(text.contains(lines), "{lines} is missing in\n{text}");
    }
}

fn json(config: &Config) -> Value {
    serde_json::to_value(config).unwrap()
}

fn without_comments(text: &str) -> Vec<&str> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split("  # ").next().unwrap())
        .collect()
}

#[test]
fn all_errors_are_reported_together_in_the_order_of_their_sources() {
    let file = r#"
reflection = "yes"
colour = "red"
[cache]
fresh_for = "90x"
absent_for = "2h"
[log]
level = "loud"
[[pools]]
app_clients = ["a", 3]
"#;
    let variables = [("LISTEN", "localhost:1"), ("CACHE__FRESH_FRO", "1s")];
    let flags = [flag("shutdown.grace", "--grace", "11min")];
    let expected = [
        "reflection: invalid type: string \"yes\", expected a boolean (from settings.toml line 2)",
        "colour: is not a setting (from settings.toml line 3)",
        "cache.fresh_for: \"90x\" is not a duration; expected one such as 60s or 15min (from settings.toml line 5)",
        "cache.absent_for: 2h is out of bounds; expected 1ms to 1h (from settings.toml line 6)",
        "log.level: unknown value `loud`, expected one of `error`, `warn`, `info`, `debug`, `trace` (from settings.toml line 8)",
        "pools[0].app_clients[1]: invalid type: integer `3`, expected a string (from settings.toml line 10)",
        "cache.fresh_fro: is not a setting; did you mean COGNITO_LOOKUP_CACHE__FRESH_FOR? (from environment variable COGNITO_LOOKUP_CACHE__FRESH_FRO)",
        "listen: \"localhost:1\" is not an address to listen on; expected one such as 127.0.0.1:50051 or unix:/run/lookup.sock (from environment variable COGNITO_LOOKUP_LISTEN)",
        "shutdown.grace: 11min is out of bounds; expected 0s to 10min (from flag --grace)",
    ];
    assert_eq!(errors(file, &variables, &flags), expected);
}

#[test]
fn an_error_of_a_key_is_reported_once() {
    let expected = "pools[0].id: invalid type: integer `3`, expected a string (from settings.toml line 2)";
    assert_eq!(errors("[[pools]]\nid = 3", &[], &[]), [expected]);
}

#[test]
fn a_default_with_an_error_is_reported_as_not_set() {
    let expected = "cache.usable_for: 15min is less than cache.fresh_for, 20min (not set)";
    assert_eq!(errors("[cache]\nfresh_for = \"20min\"", &[], &[]), [expected]);
    let config = Config::default();
    let mut collector = ErrorCollector::new(&config);
    collector.add("pools", "must name a user pool");
    let error = collector.finish(Some(())).unwrap_err().to_string();
    assert_eq!(error, "pools: must name a user pool (not set)");
}

#[test]
fn other_modules_report_with_value_sources() {
    let config = load(FILE, &[], &[]).unwrap();
    let mut collector = ErrorCollector::new(&config);
    collector.add("callers[1].network[0]", "is not a network");
    collector.add("pools[0].id", format_args!("is not a pool {}", "id"));
    let errors = collector.finish(Some(())).unwrap_err();
    let lines: Vec<String> = errors.iter().map(ConfigError::to_string).collect();
    assert!(lines[0].starts_with("pools[0].id: is not a pool id ("), "{lines:?}");
    assert!(lines[1].ends_with("settings.toml line 18)"), "{lines:?}");
    assert_eq!(ErrorCollector::new(&config).finish(Some(())), Ok(()));
}

#[test]
fn an_old_key_is_accepted_but_not_beside_the_new_one() {
    const OLD: (&str, &str) = ("CACHE__MAX_VERDICT_BYTES", "3MiB");
    const NEW: (&str, &str) = ("CACHE__MAX_TOKEN_BYTES", "2MiB");
    let (file, old) = (
        "[cache]\nmax_verdict_bytes = 1048576",
        "environment variable COGNITO_LOOKUP_CACHE__MAX_VERDICT_BYTES",
    );
    for (file, variables, mebibytes, value_source) in [
        (file, &[][..], 1, "settings.toml line 2"),
        ("[cache]\nmax_token_bytes = 1048576", &[], 1, "settings.toml line 2"),
        ("", &[OLD], 3, old),
        (file, &[OLD], 3, old),
        ("", &[NEW], 2, "environment variable COGNITO_LOOKUP_CACHE__MAX_TOKEN_BYTES"),
    ] {
        let config = load(file, variables, &[]).unwrap();
        assert_eq!(config.cache.max_token_bytes, mebibytes << 20, "{file} {variables:?}");
        assert_eq!(source(&config, "cache.max_token_bytes"), value_source);
    }
    let both = "cache.max_verdict_bytes: is the old name of cache.max_token_bytes, and both are set; \
                remove cache.max_verdict_bytes (from settings.toml line 2)";
    assert_eq!(errors(&format!("{file}\nmax_token_bytes = 1"), &[], &[]), [both]);
    assert_eq!(errors(file, &[NEW], &[]), [both]);
    let wrong =
        "cache.max_token_bytes: 0 is out of bounds; expected 1 to 1024TiB (from settings.toml line 2)";
    assert_eq!(errors("[cache]\nmax_verdict_bytes = 0", &[], &[]), [wrong]);
}

#[test]
fn every_key_is_described_and_no_other() {
    let schema: Value = serde_json::from_str(&schema()).unwrap();
    let mut described = Vec::new();
    collect_keys(&schema, &schema, String::new(), &mut described);
    let mut example = Config::default();
    example.pools.push(Default::default());
    example.callers.push(Default::default());
    let known: Vec<_> = builder::flatten(&example).into_iter().map(|(key, _)| key).collect();
    assert_eq!(described, known);
}

fn collect_keys(root: &Value, at: &Value, key: String, found: &mut Vec<String>) {
    let at = at["$ref"].as_str().map_or(at, |path| root.pointer(path.trim_start_matches('#')).unwrap());
    assert!(at["description"].is_string() || key.is_empty(), "{key}");
    match (at["properties"].as_object(), &at["items"]) {
        (Some(fields), _) => {
            assert_eq!(at["additionalProperties"], false, "{key}");
            let dot = if key.is_empty() { "" } else { "." };
            for (name, field) in fields {
                collect_keys(root, field, format!("{key}{dot}{name}"), found);
            }
        }
        (None, rows) if rows["$ref"].is_string() => collect_keys(root, rows, format!("{key}[0]"), found),
        _ => found.push(key),
    }
}

#[test]
fn the_changes_that_revoke_tokens_are_a_list_of_words() {
    use RevocationCause::{Erased, Password};
    let on = |file, variables: &[_]| load(file, variables, &[]).unwrap().revocation.on;
    assert_eq!(on("revocation.on = []", &[]), []);
    assert_eq!(on("", &[("REVOCATION__ON", "password, erased")]), [Password, Erased]);
    assert_eq!(on("", &[("REVOCATION__ON", "")]), []);
    let wrong = "revocation.on[0]: unknown value `logout`, expected one of `signed_out`, `disabled`, `erased`, `password` (from settings.toml line 1)";
    assert_eq!(errors("revocation.on = [\"logout\"]", &[], &[]), [wrong]);
}
