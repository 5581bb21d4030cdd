//! The sources of the settings, and their order: the file, then the environment, then the flags.

use std::{
    ffi::{OsStr, OsString},
    path::PathBuf,
};

use super::{
    ConfigError,
    builder::ConfigBuilder,
    file,
    value_source::{PREFIX, ValueSource},
};

/// Everything that settings are read from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The file that `--config` names; it wins over `COGNITO_LOOKUP_CONFIG`.
    pub file: Option<PathBuf>,
    /// The environment; variables of other names are passed over.
    pub environment: Vec<(OsString, OsString)>,
    /// The flags that set a key, of which the last of a key wins.
    pub flags: Vec<Flag>,
}

/// A flag of the command line that sets a key.
#[derive(Clone, Debug)]
pub struct Flag {
    /// The key, such as `cache.fresh_for`.
    pub key: &'static str,
    /// The flag as it is written, such as `--fresh-for`.
    pub name: &'static str,
    /// The value as text; a list is separated by commas.
    pub value: String,
}

/// The access token of the client commands, from `COGNITO_LOOKUP_TOKEN`: a secret, so never a setting or a flag.
/// None if it is unset, empty or not text.
#[expect(clippy::disallowed_methods, reason = "this module is the one reader of the environment")]
pub fn access_token() -> Option<String> {
    std::env::var(TOKEN).ok().filter(|token| !token.is_empty())
}

/// Returns true if and only if the standard variables of OpenTelemetry ask for traces: where to, or by which exporter,
/// and not that there be none.
#[expect(clippy::disallowed_methods, reason = "this module is the one reader of the environment")]
pub fn is_tracing_configured() -> bool {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let disabled = variable("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let endpoints = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"];
    let asked = match variable("OTEL_TRACES_EXPORTER") {
        Some(exporter) => exporter == "otlp",
        None => endpoints.into_iter().any(|name| variable(name).is_some()),
    };
    asked && !disabled
}

impl Sources {
    /// The file and flags given, and the `COGNITO_LOOKUP_…` variables of this process.
    #[expect(clippy::disallowed_methods, reason = "the one place where the environment is read")]
    pub fn from_process(file: Option<PathBuf>, flags: Vec<Flag>) -> Self {
        Self { file, environment: std::env::vars_os().filter(|(name, _)| is_ours(name)).collect(), flags }
    }

    /// Sets in `builder` what the sources set, the weakest first. Fails on a file that cannot be read or is not TOML: what
    /// the others add to it is then unknown.
    pub(super) fn merge_into(mut self, builder: &mut ConfigBuilder) -> Result<(), ConfigError> {
        if let Some((path, named_by)) = self.take_file() {
            file::merge(builder, path, named_by)?;
        }
        self.environment.sort_by_cached_key(|(name, _)| by_index(name));
        for (name, value) in &self.environment {
            if is_ours(name) {
                variable(builder, &name.to_string_lossy(), value);
            }
        }
        for flag in self.flags {
            builder.set_text(flag.key, &flag.value, ValueSource::Flag(flag.name.to_owned()));
        }
        Ok(())
    }

    fn take_file(&mut self) -> Option<(PathBuf, ValueSource)> {
        let name = format!("{PREFIX}CONFIG");
        let at = self.environment.iter().position(|(known, _)| known == name.as_str());
        let named_by = at.map(|at| self.environment.swap_remove(at).1);
        match self.file.take() {
            Some(path) => Some((path, ValueSource::Flag("--config".to_owned()))),
            None => Some((named_by?.into(), ValueSource::Environment(name))),
        }
    }
}

fn is_ours(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(PREFIX.as_bytes()) && name != TOKEN
}

/// Sorts row 2 before row 10, as rows are added in turn.
fn by_index(name: &OsStr) -> Vec<(Option<usize>, String)> {
    let name = name.to_string_lossy();
    name.split("__").map(|part| (part.parse().ok(), part.to_owned())).collect()
}

fn variable(builder: &mut ConfigBuilder, name: &str, value: &OsStr) {
    let value_source = ValueSource::Environment(name.to_owned());
    match (key(name), value.to_str()) {
        (Some(key), Some(text)) => builder.set_text(&key, text, value_source),
        (Some(key), None) => builder.add_error(&key, "the value is not UTF-8", value_source),
        (None, _) => builder.add_error(name, "is not the name of a setting", value_source),
    }
}

/// The key that a variable names: `COGNITO_LOOKUP_POOLS__0__ID` is `pools[0].id`.
fn key(name: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    let name = name.strip_prefix(PREFIX).filter(|name| !name.is_empty() && name.chars().all(plain))?;
    let mut key = String::new();
    for part in name.split("__") {
        match part.parse::<usize>() {
            Ok(index) => key.push_str(&format!("[{index}]")),
            Err(_) if key.is_empty() => key.push_str(&part.to_lowercase()),
            Err(_) => key.push_str(&format!(".{}", part.to_lowercase())),
        }
    }
    Some(key)
}

const TOKEN: &str = "COGNITO_LOOKUP_TOKEN";

#[cfg(test)]
mod tests {
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
            .map_err(|errors| errors.iter().map(ConfigError::to_string).collect())
    }

    #[test]
    fn only_settings_are_ours() {
        for (name, ours) in
            [("COGNITO_LOOKUP_LISTEN", true), ("COGNITO_LOOKUP_", true), ("PATH", false), (TOKEN, false)]
        {
            assert_eq!(is_ours(OsStr::new(name)), ours, "{name}");
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

    fn at_fault(cases: &[(&str, &str, &str)]) {
        for (name, value, expected) in cases {
            let found = load(&[(name, value)]).unwrap_err();
            assert_eq!(found, [format!("{expected} (environment {PREFIX}{name})")]);
        }
    }

    #[test]
    fn a_wrong_name_is_a_fault() {
        at_fault(&[
            (
                "CACHE_FRESH_FOR",
                "1s",
                "cache_fresh_for: is not a setting; did you mean COGNITO_LOOKUP_CACHE__FRESH_FOR?",
            ),
            ("cache__fresh_for", "1s", "COGNITO_LOOKUP_cache__fresh_for: is not the name of a setting"),
            ("LOG.LEVEL", "info", "COGNITO_LOOKUP_LOG.LEVEL: is not the name of a setting"),
            ("", "x", "COGNITO_LOOKUP_: is not the name of a setting"),
            ("CACHE", "1s", "cache: is a table: set the keys in it"),
            ("POOLS__0", "a", "pools[0]: is a table: set the keys in it"),
            ("POOLS__ID", "a", "pools.id: is not a setting"),
            ("APP_CLIENTS__0", "a", "app_clients[0]: is not a setting"),
            ("POOLS__1__ID", "a", "pools[1].id: rows are numbered from 0 without gaps"),
            (
                "POOLS__0__IDD",
                "a",
                "pools[0].idd: is not a setting; did you mean COGNITO_LOOKUP_POOLS__0__ID?",
            ),
        ]);
    }

    #[test]
    fn a_wrong_value_is_a_fault() {
        at_fault(&[
            ("REFLECTION", "yes", "reflection: `yes` is not true or false"),
            ("REFLECTION", "1", "reflection: `1` is not true or false"),
            ("LISTEN", "", "listen: is empty; leave it unset for the default"),
            (
                "LISTEN",
                "unix:",
                "listen: `unix:` is not an address and port such as 127.0.0.1:50051, or unix: and a path",
            ),
            ("SOCKET_MODE", "1777", "socket_mode: `1777` is not a file mode in octal such as \"0660\""),
            ("WORKERS", "-1", "workers: `-1` is not a whole number"),
            ("LIMITS__STREAMS", "1.5", "limits.streams: `1.5` is not a whole number"),
            ("APP_CLIENTS", "a,,b", "app_clients: an item of the list is empty"),
            ("LOG__FORMAT", "xml", "log.format: must be auto, console or json, not `xml`"),
            ("CALLERS__0__READS", "sometimes", "callers[0].reads: must be token or any, not `sometimes`"),
            ("CACHE__FRESH_FOR", "60", "cache.fresh_for: `60` is not a duration such as 60s or 15min"),
            ("CACHE__MAX_BYTES", "lots", "cache.max_bytes: `lots` is not a size such as 256MiB"),
        ]);
    }

    #[test]
    fn what_is_not_utf8_is_a_fault_and_no_panic() {
        let bytes = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
        let found = load_os(vec![
            (bytes(b"COGNITO_LOOKUP_LISTEN"), bytes(b"\xff")),
            (bytes(b"COGNITO_LOOKUP_\xff"), bytes(b"1")),
            (bytes(b"OTHER_\xff"), bytes(b"\xff")),
        ]);
        let expected = [
            "listen: the value is not UTF-8 (environment COGNITO_LOOKUP_LISTEN)",
            "COGNITO_LOOKUP_\u{fffd}: is not the name of a setting (environment COGNITO_LOOKUP_\u{fffd})",
        ];
        assert_eq!(found.unwrap_err(), expected);
    }

    #[test]
    fn the_flag_names_the_file_before_the_environment_does() {
        let environment = vec![("COGNITO_LOOKUP_CONFIG".into(), "/nowhere/a.toml".into())];
        for (file, expected) in [
            (None, "(environment COGNITO_LOOKUP_CONFIG)"),
            (Some("/nowhere/b.toml".into()), "(flag --config)"),
        ] {
            let environment = environment.clone();
            let sources = Sources { file, environment, ..Sources::default() };
            let found = Config::load(sources).and_then(Config::validated).unwrap_err().to_string();
            assert!(found.starts_with("config: cannot read /nowhere/"), "{found}");
            assert!(found.ends_with(expected), "{found}");
        }
    }

    #[test]
    fn of_a_flag_given_twice_the_last_wins() {
        let flag = |value: &str| Flag { key: "log.level", name: "--log-level", value: value.to_owned() };
        let flags = vec![flag("loud"), flag("debug")];
        let config =
            Config::load(Sources { flags, ..Sources::default() }).and_then(Config::validated).unwrap();
        assert_eq!(config.log.level, super::super::LogLevel::Debug);
    }
}
