//! The settings of the cache that all replicas share.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bounded::Bounded;

/// The cache that all replicas share, in Valkey 7.2 or Redis 7.0 or later. `[shared_cache]`
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SharedCacheSettings {
    /// The server: `rediss://HOST:PORT` with TLS, `redis://HOST:PORT` without, or `unix:PATH`;
    /// default none, and then replicas share nothing.
    pub url: Option<String>,
    /// How the servers are run; default `standalone`.
    pub mode: SharedCacheMode,
    /// The URLs of several nodes of the cluster, or of all sentinels, in place of `url`; default
    /// empty.
    pub urls: Vec<String>,
    /// The name by which the sentinels know the primary; required where `mode` is `sentinel`.
    pub sentinel_name: Option<String>,
    /// The ACL user; default the server's `default` user.
    pub username: Option<String>,
    /// The file of the password, read at each connect, without its line end; required where
    /// `username` is set.
    pub password_file: Option<String>,
    /// The PEM file of the authorities of the servers' certificates, read at each connect; default
    /// those of the system.
    pub ca_file: Option<String>,
    /// The PEM file of the client certificate's chain, read at each connect; default none.
    pub certificate: Option<String>,
    /// The PEM file of the client certificate's private key; required where `certificate` is set.
    pub key: Option<String>,
    /// The first part of every key in the store, 1 to 16 characters of `[a-z0-9-]`. Replicas share
    /// with those of the same namespace; default `cl`.
    #[schemars(regex(pattern = "^[a-z0-9-]{1,16}$"))]
    pub namespace: String,
    /// The file with the key that users are hashed with in the store, at least 32 bytes without the
    /// line end, the same for all replicas; required where `url` is set.
    pub index_key_file: Option<String>,
    /// The files with the keys that encrypt values, as `index_key_file`. The first one encrypts,
    /// all decrypt. They are checked for changes every 10 s; required where `url` is set.
    pub value_key_files: Vec<String>,
    /// The time limit of a call to the store; default `50ms`.
    #[serde(with = "Bounded::<Duration, 5, 1_000>")]
    pub timeout: Duration,
    /// The time limit of connecting to a server; default `500ms`.
    #[serde(with = "Bounded::<Duration, 50, 10_000>")]
    pub connect_timeout: Duration,
    /// The most replicas that there will be. A replica that cannot reach the store calls Cognito
    /// with a quarter of the `budget`, divided by this number; default `8`.
    #[serde(with = "Bounded::<usize, 1, 1_000>")]
    pub replicas_at_most: usize,
    /// Authentication with IAM, in place of `username` and `password_file`.
    pub iam: IamSettings,
}

impl Default for SharedCacheSettings {
    fn default() -> Self {
        Self {
            url: None,
            mode: SharedCacheMode::Standalone,
            urls: Vec::new(),
            sentinel_name: None,
            username: None,
            password_file: None,
            ca_file: None,
            certificate: None,
            key: None,
            namespace: "cl".to_owned(),
            index_key_file: None,
            value_key_files: Vec::new(),
            timeout: Duration::from_millis(50),
            connect_timeout: Duration::from_millis(500),
            replicas_at_most: 8,
            iam: IamSettings::default(),
        }
    }
}

/// Authentication with IAM at Amazon ElastiCache, with the credentials of the process.
/// `[shared_cache.iam]`
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct IamSettings {
    /// The name of the replication group, or of the serverless cache; default no IAM.
    pub cache: Option<String>,
    /// The id of the ElastiCache user, which is also its name; required where `cache` is set.
    pub user: Option<String>,
    /// Whether the cache is a serverless one; default `false`.
    pub serverless: bool,
    /// The Region of the cache; default that of the AWS configuration.
    pub region: Option<String>,
}

/// How the servers of the shared cache are run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SharedCacheMode {
    /// One server, or a name that leads to the present primary.
    #[default]
    Standalone,
    /// A primary that sentinels know.
    Sentinel,
    /// A cluster.
    Cluster,
}
