//! The tables of the settings, each field with its unit, bounds and default.

use std::time::Duration;

use bytesize::{MIB, TIB};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bounded::{Bounded, DAY, HOUR, MINUTE};

/// One user pool. `[[pools]]`
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PoolSettings {
    /// The user pool id, such as `eu-west-1_AbCdEfGhI`; required.
    pub id: String,
    /// The app clients whose access tokens are accepted; default empty.
    pub app_clients: Vec<String>,
    /// The AWS Region; default the one that the id begins with.
    pub region: Option<String>,
    /// The `iss` that tokens must carry; default follows from Region and id.
    pub issuer: Option<String>,
    /// The URL of the signing keys (JWKS); default follows from the issuer.
    pub jwks_url: Option<String>,
    /// The Cognito endpoint, for emulators and private endpoints; default that of the Region.
    pub endpoint_url: Option<String>,
    /// Whether the pool holds federated users. A `sub` that `AdminGetUser` does not find is then
    /// searched with `ListUsers`; default `false`.
    pub federated: bool,
    /// The Cognito call that finds a user by bare `sub`; default `admin-get-user`.
    pub bare_sub: BareSub,
    /// The AWS account, 12 digits, where pools are in several; default that of `role_arn`, or one
    /// for all pools without either.
    pub account: Option<String>,
    /// The IAM role to assume for this pool, such as one in the pool's account; default none.
    pub role_arn: Option<String>,
    /// The external id that the role's trust policy requires, 2 to 1,224 characters; default none.
    pub external_id: Option<String>,
    /// The credentials that sign calls. Not a setting, so that none can come from a file.
    #[serde(skip)]
    pub credentials: AwsCredentials,
}

/// The credentials that sign calls to Cognito.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AwsCredentials {
    /// Those of the SDK's default chain: environment, profile, web identity, container, instance.
    #[default]
    DefaultChain,
    /// Fixed words that are no secret, for an emulator that ignores them.
    Placeholder,
}

/// The Cognito call that finds a user by bare `sub`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BareSub {
    /// `AdminGetUser`, for pools where the `sub` is accepted as a username.
    #[default]
    AdminGetUser,
    /// `ListUsers`, which makes no dormant user billable but lags behind changes.
    ListUsers,
}

/// One rule of the policy: who may read what. `[[callers]]`
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CallerSettings {
    /// The name in logs and audit records, 1 to 64 characters, different for each rule; required.
    pub name: String,
    /// The app client of the caller's token; one of this, `certificate` and `network` is required.
    pub app_client: Option<String>,
    /// The scope that the token must have, such as `user-lookup/read`; default none.
    pub scope: Option<String>,
    /// The URI or DNS name in the caller's client certificate; default none.
    pub certificate: Option<String>,
    /// The networks of callers without credentials, `127.0.0.1/32` or `unix`; default empty.
    pub network: Vec<String>,
    /// Whether `network` also matches calls that came through a proxy or a mesh's sidecar; default
    /// `false`.
    pub proxied: bool,
    /// Whose attributes it may read; default `token`.
    pub reads: Reads,
    /// The attributes it may read, `*` for all; default empty.
    pub attributes: Vec<String>,
    /// Whether it may also read groups; default `false`.
    pub groups: bool,
    /// Whether it may watch the changes of users, only with `reads = "any"`; default `false`.
    pub watch: bool,
    /// Whether it may call the `AdminService`, a network only within this machine; default `false`.
    pub admin: bool,
    /// The calls per second to Cognito, in each account and Region; default only the `budget`.
    #[serde(with = "Bounded::<Option<usize>, 1, PER_SECOND>")]
    pub misses_per_second: Option<usize>,
    /// The users per second that each replica answers it, from the cache or not; default no limit.
    #[serde(with = "Bounded::<Option<usize>, 1, PER_SECOND>")]
    pub answers_per_second: Option<usize>,
}

/// Whose attributes a caller may read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Reads {
    /// Only the user whose valid access token it presents.
    #[default]
    Token,
    /// Any user, by bare `sub`; for a certificate, a network, or an app client with a scope.
    Any,
}

/// How long and how much is cached. `[cache]`
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CacheSettings {
    /// How long a user is served from the cache without a call to Cognito; default `1min`.
    #[serde(with = "Bounded::<Duration, 1, DAY>")]
    pub fresh_for: Duration,
    /// How long a user is served while Cognito fails, at least `fresh_for`; default `15min`.
    #[serde(with = "Bounded::<Duration, 1, DAY>")]
    pub usable_for: Duration,
    /// How long it is cached that a user does not exist; default `15s`.
    #[serde(with = "Bounded::<Duration, 1, HOUR>")]
    pub absent_for: Duration,
    /// The memory for cached users, in bytes; default `256MiB`.
    #[serde(with = "Bounded::<u64, MIB, MOST_BYTES>")]
    pub max_bytes: u64,
    /// The memory for users cached as not existing, in bytes; default `8MiB`.
    #[serde(with = "Bounded::<u64, 1, MOST_BYTES>")]
    pub max_absent_bytes: u64,
    /// The memory for verified tokens, in bytes, some 880 bytes each. A token that was evicted is
    /// verified again, which takes some 20 µs of a core; default `64MiB`.
    #[serde(with = "Bounded::<u64, 1, MOST_BYTES>")]
    pub max_token_bytes: u64,
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self {
            fresh_for: Duration::from_secs(60),
            usable_for: Duration::from_secs(15 * 60),
            absent_for: Duration::from_secs(15),
            max_bytes: 256 * MIB,
            max_absent_bytes: 8 * MIB,
            max_token_bytes: 64 * MIB,
        }
    }
}

/// The rate limit of calls to Cognito, in each account and Region. `[budget]`
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BudgetSettings {
    /// Whose calls are limited, those of all replicas or of one; default `shared`.
    pub scope: BudgetScope,
    /// The calls per second of `AdminGetUser`; default 80 % of the quota, or 96.
    #[serde(with = "Bounded::<Option<usize>, 1, PER_SECOND>")]
    pub user_reads_per_second: Option<usize>,
    /// The calls per second of `ListUsers`; default 80 % of the quota, or 24.
    #[serde(with = "Bounded::<Option<usize>, 1, PER_SECOND>")]
    pub lists_per_second: Option<usize>,
    /// The calls per second of `AdminListGroupsForUser`; default 80 % of the quota, or 40.
    #[serde(with = "Bounded::<Option<usize>, 1, PER_SECOND>")]
    pub group_reads_per_second: Option<usize>,
}

/// Whose calls the rate limit is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BudgetScope {
    /// Those of all replicas together, if they share a cache; without `shared_cache.url`, as `own`.
    #[default]
    Shared,
    /// Those of each replica, whose rates the operator must divide.
    Own,
}

/// The graceful shutdown. `[shutdown]`
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ShutdownSettings {
    /// How long new requests are still accepted after the signal; default `5s`.
    #[serde(with = "Bounded::<Duration, 0, { 10 * MINUTE }>")]
    pub delay: Duration,
    /// How long in-flight requests may take after that; default `20s`.
    #[serde(with = "Bounded::<Duration, 0, { 10 * MINUTE }>")]
    pub grace: Duration,
}

impl Default for ShutdownSettings {
    fn default() -> Self {
        Self { delay: Duration::from_secs(5), grace: Duration::from_secs(20) }
    }
}

/// What is logged, and how. `[log]`
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LogSettings {
    /// The least severe level that is logged; default `info`.
    pub level: LogLevel,
    /// The format of a log line; default `auto`.
    pub format: LogFormat,
}

/// The severity of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LogLevel {
    /// Failures only.
    Error,
    /// Also what will fail unless an operator acts.
    Warn,
    /// Also the stages of the process.
    #[default]
    Info,
    /// Also each call that succeeds.
    Debug,
    /// Also the start of each call, and each call to Cognito.
    Trace,
}

/// The format of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// `console` on a terminal, `json` elsewhere.
    #[default]
    Auto,
    /// One line for people.
    Console,
    /// One JSON object a line.
    Json,
}

// Beyond any quota, and few enough to log the instants of one second's calls in memory.
const PER_SECOND: u64 = 100_000;
// More than any machine has.
pub(super) const MOST_BYTES: u64 = 1024 * TIB;
