//! The tables of the settings, each field with its unit, bounds and default.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{choice, text};

/// One user pool: `[[pools]]`.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PoolSettings {
    /// The pool id, such as `eu-west-1_AbCdEfGhI`; required.
    #[serde(deserialize_with = "text::string")]
    pub id: String,
    /// The app clients whose access tokens are accepted; default empty.
    #[serde(deserialize_with = "text::list")]
    pub app_clients: Vec<String>,
    /// The AWS region; default the one that the id begins with.
    #[serde(deserialize_with = "text::optional")]
    pub region: Option<String>,
    /// The `iss` that tokens must carry; default follows from region and id.
    #[serde(deserialize_with = "text::optional")]
    pub issuer: Option<String>,
    /// Where the signing keys are fetched; default follows from the issuer.
    #[serde(deserialize_with = "text::optional")]
    pub jwks_url: Option<String>,
    /// The Cognito endpoint, for emulators and private endpoints; default that of the region.
    #[serde(deserialize_with = "text::optional")]
    pub endpoint_url: Option<String>,
    /// Whether the pool holds federated users: a `sub` that `AdminGetUser` does not know is then looked for with
    /// `ListUsers`; default `false`.
    #[serde(deserialize_with = "text::boolean")]
    pub federated: bool,
    /// The Cognito call that finds a user by bare `sub`; default `admin-get-user`.
    #[serde(deserialize_with = "choice::deserialize")]
    pub bare_sub: BareSub,
    /// The AWS account, 12 digits, where pools are in several; default that of `role_arn`, or one for all pools without
    /// either.
    #[serde(deserialize_with = "text::optional")]
    pub account: Option<String>,
    /// The IAM role that is assumed to ask this pool, such as one in the pool's account; default none.
    #[serde(deserialize_with = "text::optional")]
    pub role_arn: Option<String>,
    /// What the role's trust policy wants to be told, 2 to 1,224 characters; default none.
    #[serde(deserialize_with = "text::optional")]
    pub external_id: Option<String>,
    /// Whose credentials calls are signed with; no setting, so that none can come from a file.
    #[serde(skip)]
    pub credentials: AwsCredentials,
}

/// Whose credentials calls to Cognito are signed with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AwsCredentials {
    /// Those that the usual AWS chain finds: environment, profile, web identity, container, instance.
    #[default]
    DefaultChain,
    /// Words that are no secret, for a stand-in that looks at none.
    Placeholder,
}

/// The Cognito call that finds a user by bare `sub`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BareSub {
    /// `AdminGetUser`, for pools where the `sub` is accepted as a username.
    #[default]
    AdminGetUser,
    /// `ListUsers` with a filter on `sub`, which makes no dormant user billable and lags behind changes.
    ListUsers,
}

/// One rule of the release policy: `[[callers]]`.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CallerSettings {
    /// The name in logs and audit records, 1 to 64 characters, each rule its own; required.
    #[serde(deserialize_with = "text::string")]
    pub name: String,
    /// The app client whose token makes this caller; one of this, `certificate` and `network` is required.
    #[serde(deserialize_with = "text::optional")]
    pub app_client: Option<String>,
    /// The scope that the token must have, such as `user-lookup/read`; default none.
    #[serde(deserialize_with = "text::optional")]
    pub scope: Option<String>,
    /// The name in the client certificate that makes this caller, a URI or a host's name; default none.
    #[serde(deserialize_with = "text::optional")]
    pub certificate: Option<String>,
    /// The networks from which a caller needs no credential, such as `127.0.0.1/32`, or `unix`; default empty.
    #[serde(deserialize_with = "text::list")]
    pub network: Vec<String>,
    /// Whose attributes it may read; default `token`.
    #[serde(deserialize_with = "choice::deserialize")]
    pub reads: Reads,
    /// The attributes it may read, `*` for all; default empty.
    #[serde(deserialize_with = "text::list")]
    pub attributes: Vec<String>,
    /// Whether it may also read groups; default `false`.
    #[serde(deserialize_with = "text::boolean")]
    pub groups: bool,
    /// Whether it may call the `AdminService`, from a network only within this machine; default `false`.
    #[serde(deserialize_with = "text::boolean")]
    pub admin: bool,
    /// How many calls a second it may cause to Cognito, in each account and Region; 1 to 100000, default no bound but the
    /// budget.
    #[serde(deserialize_with = "text::rate")]
    pub misses_per_second: Option<usize>,
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

/// How long and how much is remembered: `[cache]`.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CacheSettings {
    /// How long a user found is served without asking Cognito; `1ms` to `24h`, default `60s`.
    #[serde(with = "text::DurationText")]
    pub fresh_for: Duration,
    /// How long a user found is served while Cognito cannot answer; `fresh_for` to `24h`, default `15min`.
    #[serde(with = "text::DurationText")]
    pub usable_for: Duration,
    /// How long a user not found is remembered as absent; `1ms` to `1h`, default `15s`.
    #[serde(with = "text::DurationText")]
    pub absent_for: Duration,
    /// What the users remembered may take, in bytes; at least `1MiB`, default `256MiB`.
    #[serde(with = "text::SizeText")]
    pub max_bytes: u64,
    /// What the absences remembered may take, in bytes; at least 1, default `8MiB`.
    #[serde(with = "text::SizeText")]
    pub max_absent_bytes: u64,
    /// What is remembered of tokens already verified may take, in bytes, some 600 bytes each; a token that is not
    /// remembered is verified once more, which takes some 20 µs of a core; at least 1, default `64MiB`.
    #[serde(with = "text::SizeText")]
    pub max_verdict_bytes: u64,
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self {
            fresh_for: Duration::from_secs(60),
            usable_for: Duration::from_secs(15 * 60),
            absent_for: Duration::from_secs(15),
            max_bytes: 256 * bytesize::MIB,
            max_absent_bytes: 8 * bytesize::MIB,
            max_verdict_bytes: 64 * bytesize::MIB,
        }
    }
}

/// What may be asked of Cognito, in each account and Region: `[budget]`.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BudgetSettings {
    /// The calls a second of `AdminGetUser`; 1 to 100000, default 80 % of what Cognito allows, or 96 if it does not say.
    #[serde(deserialize_with = "text::rate")]
    pub user_reads_per_second: Option<usize>,
    /// The calls a second of `ListUsers`; 1 to 100000, default 80 % of what Cognito allows, or 24 if it does not say.
    #[serde(deserialize_with = "text::rate")]
    pub lists_per_second: Option<usize>,
    /// The calls a second of `AdminListGroupsForUser`; 1 to 100000, default 80 % of what Cognito allows, or 40 if it does
    /// not say.
    #[serde(deserialize_with = "text::rate")]
    pub group_reads_per_second: Option<usize>,
}

/// How the process ends: `[shutdown]`.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ShutdownSettings {
    /// How long requests are still accepted after the signal; `0s` to `10min`, default `5s`.
    #[serde(with = "text::DurationText")]
    pub delay: Duration,
    /// How long requests in flight may then take; `0s` to `10min`, default `20s`.
    #[serde(with = "text::DurationText")]
    pub grace: Duration,
}

impl Default for ShutdownSettings {
    fn default() -> Self {
        Self { delay: Duration::from_secs(5), grace: Duration::from_secs(20) }
    }
}

/// What is logged, and how: `[log]`.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LogSettings {
    /// The least severe level that is logged; default `info`.
    #[serde(deserialize_with = "choice::deserialize")]
    pub level: LogLevel,
    /// The form of a log line; default `auto`.
    #[serde(deserialize_with = "choice::deserialize")]
    pub format: LogFormat,
}

/// How severe a log line must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LogLevel {
    /// Failures only.
    Error,
    /// Also what will fail if nothing is done.
    Warn,
    /// Also the landmarks of the process.
    #[default]
    Info,
    /// Also what helps to find a fault.
    Debug,
    /// Everything.
    Trace,
}

/// The form of a log line.
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
