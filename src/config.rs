//! The settings: flags, environment and a TOML file become one plain [`Config`].
//!
//! A flag wins over the environment, the environment over the file, the file over the default.
//! Unknown keys are refused, and every fault is reported at once with its key and its source.

mod audit;
mod bounds;
mod choice;
mod error;
mod file;
mod limits;
mod listen;
mod value_source;
mod schema;
mod settings;
mod single_pool;
mod sources;
mod text;
mod tls;
mod builder;

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::builder::ConfigBuilder;
pub use self::{
    audit::{AuditSettings, AuditSink},
    error::{ConfigError, ConfigErrors, ErrorCollector},
    limits::LimitSettings,
    listen::{InvalidListenAddress, ListenAddress},
    schema::schema,
    settings::{
        AwsCredentials, BareSub, BudgetSettings, CacheSettings, CallerSettings, LogFormat, LogLevel,
        LogSettings, PoolSettings, Reads, ShutdownSettings,
    },
    sources::{Flag, Sources, access_token, is_tracing_configured},
    tls::{ClientCertificate, TlsSettings},
    value_source::ValueSource,
};

/// Every setting of the service, and where each came from.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where gRPC is served: an address and port, or `unix:PATH`; default `127.0.0.1:50051`.
    pub listen: ListenAddress,
    /// Who may connect to the socket, where `listen` is one: its file mode; default `0600`.
    #[serde(with = "text::ModeText")]
    pub socket_mode: u32,
    /// The address of the port for probes and metrics, in plain HTTP; default `127.0.0.1:9090`.
    #[serde(deserialize_with = "text::address")]
    pub admin_listen: SocketAddr,
    /// The threads that serve, 0 for one on each core; 0 to 1,024, default `0`.
    #[serde(deserialize_with = "text::number")]
    pub workers: usize,
    /// The id of the one pool, in place of `[[pools]]` and `[[callers]]`; default none.
    #[serde(deserialize_with = "text::optional")]
    pub user_pool_id: Option<String>,
    /// The app clients of the one pool whose access tokens are accepted; default empty.
    #[serde(deserialize_with = "text::list")]
    pub app_clients: Vec<String>,
    /// The attributes that the app clients of the one pool may read of the token's user; default empty.
    #[serde(deserialize_with = "text::list")]
    pub attributes: Vec<String>,
    /// Whether gRPC reflection is served, v1 and v1alpha; default `true`.
    #[serde(deserialize_with = "text::boolean")]
    pub reflection: bool,
    /// The user pools, one `[[pools]]` each; default none.
    pub pools: Vec<PoolSettings>,
    /// Who may read what, one `[[callers]]` each; default none.
    pub callers: Vec<CallerSettings>,
    /// How long and how much is remembered.
    pub cache: CacheSettings,
    /// What may be asked of Cognito.
    pub budget: BudgetSettings,
    /// Where it is recorded who was told what.
    pub audit: AuditSettings,
    /// How connections are encrypted.
    pub tls: TlsSettings,
    /// What connections and requests may take.
    pub limits: LimitSettings,
    /// How the process ends.
    pub shutdown: ShutdownSettings,
    /// What is logged, and how.
    pub log: LogSettings,
    /// What is wrong with single settings; each is then its default.
    #[serde(skip)]
    pub errors: Vec<ConfigError>,
    /// Where each key that was set came from.
    #[serde(skip)]
    pub value_sources: BTreeMap<String, ValueSource>,
}

/// One setting as `config print` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The key, such as `cache.fresh_for` or `pools[0].id`.
    pub key: String,
    /// The value as the environment would spell it; empty for an unset one or an empty list.
    pub value: String,
    /// Where this very key was set, [`ValueSource::Default`] if it was not.
    pub value_source: ValueSource,
}

impl Config {
    /// Merges the sources. Fails on a file that cannot be read or is not TOML; other faults stay with the settings, for
    /// [`ErrorCollector::new`] to report with those that other modules find, or for [`Config::sound`].
    pub fn load(sources: Sources) -> Result<Self, ConfigErrors> {
        Self::merge(sources).map(single_pool::expand)
    }

    /// Returns the settings if no single one of them is at fault.
    pub fn validated(self) -> Result<Self, ConfigErrors> {
        ErrorCollector::new(&self).finish(Some(()))?;
        Ok(self)
    }

    fn merge(sources: Sources) -> Result<Self, ConfigErrors> {
        let mut builder = ConfigBuilder::default();
        sources.merge_into(&mut builder)?;
        let (mut config, errors) = builder.build();
        config.errors = errors;
        config.errors = bounds::check(&config).map_or_else(|found| found.0, |()| Vec::new());
        Ok(config)
    }

    /// Where the value of `key` came from; for a key not itself set, where its nearest set parent did.
    pub fn value_source(&self, key: &str) -> ValueSource {
        value_source::nearest(&self.value_sources, key)
            .map_or(ValueSource::Default, |(_, value_source)| value_source.clone())
    }

    /// Every setting in declaration order.
    pub fn settings(&self) -> Vec<Setting> {
        let setting = |(key, value)| Setting {
            value_source: self.value_sources.get(&key).cloned().unwrap_or_default(),
            key,
            value,
        };
        builder::flatten(self).into_iter().map(setting).collect()
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: ListenAddress::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 50051))),
            socket_mode: 0o600,
            admin_listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 9090)),
            workers: 0,
            user_pool_id: None,
            app_clients: Vec::new(),
            attributes: Vec::new(),
            reflection: true,
            pools: Vec::new(),
            callers: Vec::new(),
            cache: CacheSettings::default(),
            budget: BudgetSettings::default(),
            audit: AuditSettings::default(),
            tls: TlsSettings::default(),
            limits: LimitSettings::default(),
            shutdown: ShutdownSettings::default(),
            log: LogSettings::default(),
            errors: Vec::new(),
            value_sources: BTreeMap::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Sources in memory; the file is the one thing on disk, and goes with the directory returned.
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
    fn nothing_set_is_the_defaults() {
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
            (FILE, &variable, &[], 3, "environment COGNITO_LOOKUP_CACHE__FRESH_FOR"),
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
    fn origins_tell_the_line_or_that_of_the_parent() {
        let config = load(FILE, &[("POOLS__0__REGION", "eu-west-1")], &[]).unwrap();
        for (key, value_source) in [
            ("reflection", "settings.toml line 2"),
            ("cache.absent_for", "default"),
            ("pools[0]", "settings.toml line 9"),
            ("pools[0].id", "settings.toml line 10"),
            ("pools[0].region", "environment COGNITO_LOOKUP_POOLS__0__REGION"),
            ("pools[0].issuer", "settings.toml line 9"),
            ("callers[1]", "settings.toml line 16"),
            ("callers[1].network[1]", "settings.toml line 18"),
            ("callers", "default"),
        ] {
            assert_eq!(source(&config, key), value_source, "{key}");
        }
    }

    #[test]
    fn entries_are_in_declaration_order_with_their_own_origin() {
        let config = load(FILE, &[("APP_CLIENTS", "a, b")], &[]).unwrap();
        let settings = config.settings();
        let keys: Vec<&str> = settings.iter().map(|setting| setting.key.as_str()).collect();
        assert_eq!(keys[..4], ["listen", "socket_mode", "admin_listen", "workers"]);
        assert_eq!(keys[4..8], ["user_pool_id", "app_clients", "attributes", "reflection"]);
        assert_eq!(keys[8..10], ["pools[0].id", "pools[0].app_clients"]);
        assert_eq!(keys.last(), Some(&"log.format"));
        for (key, value, value_source) in [
            ("user_pool_id", "", "default"),
            ("app_clients", "a,b", "environment COGNITO_LOOKUP_APP_CLIENTS"),
            ("pools[0].bare_sub", "admin-get-user", "default"),
            ("cache.max_bytes", "2MiB", "settings.toml line 7"),
            ("shutdown.grace", "20s", "default"),
        ] {
            let setting = settings.iter().find(|setting| setting.key == key).unwrap();
            assert_eq!(setting.value, value, "{key}");
            assert!(
                setting.value_source.to_string().ends_with(value_source),
                "{key}: {}",
                setting.value_source
            );
        }
    }

    #[test]
    fn all_faults_are_told_at_once_in_the_order_of_their_sources() {
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
            "reflection: `yes` is not true or false (settings.toml line 2)",
            "colour: is not a setting (settings.toml line 3)",
            "cache.fresh_for: `90x` is not a duration such as 60s or 15min (settings.toml line 5)",
            "cache.absent_for: 2h is out of bounds: from 1ms to 1h (settings.toml line 6)",
            "log.level: must be error, warn, info, debug or trace, not `loud` (settings.toml line 8)",
            "pools[0].app_clients: `[\"a\",3]` is not a list such as [\"a\", \"b\"] (settings.toml line 10)",
            "cache.fresh_fro: is not a setting; did you mean COGNITO_LOOKUP_CACHE__FRESH_FOR? (environment COGNITO_LOOKUP_CACHE__FRESH_FRO)",
            "listen: `localhost:1` is not an address and port such as 127.0.0.1:50051, or unix: and a path (environment COGNITO_LOOKUP_LISTEN)",
            "shutdown.grace: 11m is out of bounds: from 0s to 10m (flag --grace)",
        ];
        assert_eq!(errors(file, &variables, &flags), expected);
    }

    #[test]
    fn a_key_at_fault_is_told_once() {
        let expected = "pools[0].id: `3` is not text in quotes such as \"a\" (settings.toml line 2)";
        assert_eq!(errors("[[pools]]\nid = 3", &[], &[]), [expected]);
    }

    #[test]
    fn what_nothing_set_is_told_as_not_set() {
        let expected = "cache.usable_for: the default 15m is out of bounds: from 20m to 1day (not set)";
        assert_eq!(errors("[cache]\nfresh_for = \"20min\"", &[], &[]), [expected]);
        let config = Config::default();
        let mut collector = ErrorCollector::new(&config);
        collector.add("pools", "must name a user pool");
        let told = collector.finish(Some(())).unwrap_err().to_string();
        assert_eq!(told, "pools: must name a user pool (not set)");
    }

    #[test]
    fn modules_above_report_with_origins() {
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
}
