//! The settings: flags, environment and a TOML file become one plain [`Config`].
//!
//! A flag wins over the environment, the environment over the file, the file over the default.
//! Unknown keys are refused, and all errors are reported together, each with its key and source.

mod audit;
mod bounded;
mod builder;
mod error;
mod events;
mod file;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod limits;
mod listen;
mod memory_limit;
mod reload;
mod revocation;
mod secret;
mod settings;
mod shared_cache;
mod single_pool;
mod service_links;
mod sources;
mod text;
mod tls;
mod toml_text;
mod value_source;
mod watch;

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use schemars::{JsonSchema, generate::SchemaSettings};
use serde::{Deserialize, Serialize};

pub use self::{
    audit::{AuditSettings, AuditSink},
    error::{ConfigError, ConfigErrors, ErrorCollector},
    events::{EventCatchUp, EventScope, EventsSettings},
    limits::LimitSettings,
    listen::ListenAddress,
    memory_limit::CHANGE_LOG_BYTES,
    reload::Reload,
    revocation::{OnlineCheck, RevocationCause, RevocationSettings},
    secret::{AUDIT_KEY, PREVIOUS_AUDIT_KEY, Secret, Secrets},
    settings::{
        AwsCredentials, BareSub, BudgetScope, BudgetSettings, CacheSettings, CallerSettings, LogFormat,
        LogLevel, LogSettings, PoolSettings, Reads, ShutdownSettings,
    },
    shared_cache::{IamSettings, SharedCacheMode, SharedCacheSettings},
    sources::{Flag, Sources, access_token, environment_variable, is_tracing_configured},
    tls::{ClientCertificate, TlsSettings},
    value_source::ValueSource,
    watch::WatchSettings,
};
use self::{bounded::Bounded, builder::ConfigBuilder};

/// Every setting of the service, and where each came from.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where gRPC is served: an address and port, or `unix:PATH`; default `127.0.0.1:50051`.
    #[schemars(with = "String", regex(pattern = "^(unix:.+|.+:[0-9]+)$"))]
    pub listen: ListenAddress,
    /// The file mode of the Unix socket, where `listen` is one; default `0600`.
    #[serde(with = "text::FileMode")]
    #[schemars(with = "String", regex(pattern = "^[0-7]{1,4}$"))]
    pub socket_mode: u32,
    /// The address and port of probes and metrics, in plain HTTP; default `127.0.0.1:9090`.
    #[serde(deserialize_with = "text::address")]
    pub admin_listen: SocketAddr,
    /// The serving threads, 0 for one on each core; default `0`.
    #[serde(with = "Bounded::<usize, 0, 1_024>")]
    pub workers: usize,
    /// The id of a single user pool, in place of `[[pools]]` and `[[callers]]`; default none.
    pub user_pool_id: Option<String>,
    /// The app clients of the single pool whose access tokens are accepted; default empty.
    pub app_clients: Vec<String>,
    /// The attributes of the token's user that these app clients may read; default empty.
    pub attributes: Vec<String>,
    /// Whether gRPC reflection is served, v1 and v1alpha; default `true`.
    pub reflection: bool,
    /// Whether the service is ready only once every pool is, rather than any; default `false`.
    pub require_all_pools: bool,
    /// The user pools, one `[[pools]]` each; default none.
    pub pools: Vec<PoolSettings>,
    /// Who may read what, one `[[callers]]` each; default none.
    pub callers: Vec<CallerSettings>,
    /// How long and how much is cached.
    pub cache: CacheSettings,
    /// The rate limit of calls to Cognito, in each account and Region. The defaults are 80 % of the
    /// quota, or a fixed rate if Cognito does not report its quota.
    pub budget: BudgetSettings,
    /// The cache that all replicas share, in Valkey 7.2 or Redis 7.0 or later.
    pub shared_cache: SharedCacheSettings,
    /// The queue of changes of users, by which cached users expire within seconds.
    pub events: EventsSettings,
    /// The revocation of access tokens, which is always on.
    pub revocation: RevocationSettings,
    /// The streams of changes, for callers with `watch`.
    pub watch: WatchSettings,
    /// The audit trail: who read what about which user.
    pub audit: AuditSettings,
    /// The encryption of connections and the verification of client certificates.
    pub tls: TlsSettings,
    /// The limits of connections and requests.
    pub limits: LimitSettings,
    /// The graceful shutdown.
    pub shutdown: ShutdownSettings,
    /// What is logged, and how.
    pub log: LogSettings,
    /// The memory limit that the sizes fit in, in bytes; none if there is none.
    #[serde(skip)]
    pub memory_limit: Option<u64>,
    /// The settings file, if there is one.
    #[serde(skip)]
    pub file: Option<PathBuf>,
    /// The secrets of the environment. Not settings, so that none can come from a file.
    #[serde(skip)]
    pub secrets: Secrets,
    /// The errors in single settings, each of which has its default instead.
    #[serde(skip)]
    pub errors: Vec<ConfigError>,
    /// Where each key that was set came from.
    #[serde(skip)]
    pub value_sources: BTreeMap<String, ValueSource>,
    /// The keys, or rows, that the settings of a single pool were turned into, each with the key
    /// that it follows from.
    #[serde(skip)]
    pub derived: BTreeMap<String, String>,
}

/// Returns the JSON Schema of the settings file (draft 2020-12), as JSON.
pub fn schema() -> String {
    let schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<Config>();
    format!("{:#}", schema.to_value())
}

impl Config {
    /// Merges the sources. Fails if the file cannot be read or is not TOML. Other errors are kept
    /// in [`Self::errors`] for [`ErrorCollector`], which adds those that other modules find, or for
    /// [`Self::validated`].
    pub fn load(sources: Sources) -> Result<Self, ConfigErrors> {
        let memory_limit = sources.memory_limit;
        Self::merge(sources).map(|config| single_pool::expand(config).fitted(memory_limit))
    }

    /// Returns whether a caller may watch, so that changes are logged.
    pub fn has_watchers(&self) -> bool {
        self.callers.iter().any(|caller| caller.watch)
    }

    /// Returns the settings if there is no error in any single one of them.
    pub fn validated(self) -> Result<Self, ConfigErrors> {
        ErrorCollector::new(&self).finish(Some(()))?;
        Ok(self)
    }

    fn merge(mut sources: Sources) -> Result<Self, ConfigErrors> {
        let mut builder = ConfigBuilder::default();
        let secrets = Secrets::take(&mut sources.environment);
        let file = sources.merge_into(&mut builder)?;
        Ok(Self { file, secrets, ..Self::of(builder) })
    }

    fn of(builder: ConfigBuilder) -> Self {
        let mut config = builder.build();
        let mut errors = ErrorCollector::new(&config);
        let CacheSettings { fresh_for, usable_for, .. } = config.cache;
        if usable_for < fresh_for {
            let [usable_for, fresh_for] = [usable_for, fresh_for].map(bounded::format);
            errors.add("cache.usable_for", format!("{usable_for} is less than cache.fresh_for, {fresh_for}"));
        }
        config.errors = errors.into_errors();
        config
    }

    /// Returns where the value of `key` came from. For a key that is not set itself it is the
    /// source of the nearest parent that is.
    pub fn value_source(&self, key: &str) -> ValueSource {
        value_source::nearest(&self.value_sources, key)
            .map_or(ValueSource::Default, |(_, source)| source.clone())
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
            require_all_pools: false,
            pools: Vec::new(),
            callers: Vec::new(),
            cache: CacheSettings::default(),
            budget: BudgetSettings::default(),
            shared_cache: SharedCacheSettings::default(),
            events: EventsSettings::default(),
            revocation: RevocationSettings::default(),
            watch: WatchSettings::default(),
            audit: AuditSettings::default(),
            tls: TlsSettings::default(),
            limits: LimitSettings::default(),
            shutdown: ShutdownSettings::default(),
            log: LogSettings::default(),
            memory_limit: None,
            file: None,
            secrets: Secrets::default(),
            errors: Vec::new(),
            value_sources: BTreeMap::new(),
            derived: BTreeMap::new(),
        }
    }
}

#[cfg(test)]
mod tests;
