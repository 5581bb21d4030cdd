//! The tables of the settings, each field with its unit, bounds and default.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{choice, text};

/// One user pool: `[[pools]]`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
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
    /// Whether the pool holds federated users; default `false`.
    #[serde(deserialize_with = "text::boolean")]
    pub federated: bool,
    /// The Cognito call that finds a user by bare `sub`; default `admin-get-user`.
    #[serde(deserialize_with = "choice::deserialize")]
    pub bare_sub: BareSub,
    /// The AWS account, 12 digits, where pools are in several; default one for all pools without it.
    #[serde(deserialize_with = "text::optional")]
    pub account: Option<String>,
    /// Whose credentials calls are signed with; no setting, so that none can come from a file.
    #[serde(skip)]
    pub credentials: Credentials,
}

/// Whose credentials calls to Cognito are signed with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Credentials {
    /// Those that the usual AWS chain finds: environment, profile, web identity, container, instance.
    #[default]
    Chain,
    /// Words that are no secret, for a stand-in that looks at none.
    Placeholder,
}

/// The Cognito call that finds a user by bare `sub`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum BareSub {
    /// `AdminGetUser`, for pools where the `sub` is accepted as a username.
    #[default]
    AdminGetUser,
    /// `ListUsers` with a filter on `sub`.
    ListUsers,
}

/// One rule of the release policy: `[[callers]]`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct CallerSettings {
    /// The name in logs and audit records; required.
    #[serde(deserialize_with = "text::string")]
    pub name: String,
    /// The app client whose token makes this caller; default none.
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
    /// How many users a second may be fetched because of it, in each account and Region; 1 to 100000, default no bound
    /// but the budget.
    #[serde(deserialize_with = "text::rate")]
    pub misses_per_second: Option<usize>,
}

/// Whose attributes a caller may read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reads {
    /// Only the user whose valid access token it presents.
    #[default]
    Token,
    /// Any user, by bare `sub`.
    Any,
}

/// How long and how much is remembered: `[cache]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct CacheSettings {
    /// How long a user found is served without asking Cognito; `1ms` to `24h`, default `60s`.
    #[serde(with = "text::duration")]
    pub fresh_for: Duration,
    /// How long a user found is served while Cognito cannot answer; `fresh_for` to `24h`, default `15min`.
    #[serde(with = "text::duration")]
    pub usable_for: Duration,
    /// How long a user not found is remembered as absent; `1ms` to `1h`, default `15s`.
    #[serde(with = "text::duration")]
    pub absent_for: Duration,
    /// What the users remembered may take, in bytes; at least `1MiB`, default `256MiB`.
    #[serde(with = "text::size")]
    pub max_bytes: u64,
    /// What the absences remembered may take, in bytes; at least 1, default `8MiB`.
    #[serde(with = "text::size")]
    pub max_absent_bytes: u64,
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self {
            fresh_for: Duration::from_secs(60),
            usable_for: Duration::from_secs(15 * 60),
            absent_for: Duration::from_secs(15),
            max_bytes: 256 * bytesize::MIB,
            max_absent_bytes: 8 * bytesize::MIB,
        }
    }
}

/// How connections are encrypted, and whose certificates are asked for: `[tls]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsSettings {
    /// The file of the certificate chain in PEM, the server's own first; default none, and then nothing is encrypted.
    #[serde(deserialize_with = "text::optional")]
    pub certificate: Option<String>,
    /// The file of the certificate's private key in PEM; required where `certificate` is set.
    #[serde(deserialize_with = "text::optional")]
    pub key: Option<String>,
    /// The file of the certificate authorities in PEM that client certificates are verified against; required unless
    /// `client_certificate` is `off`.
    #[serde(deserialize_with = "text::optional")]
    pub client_ca: Option<String>,
    /// Whether clients must present a certificate; default `off`.
    #[serde(deserialize_with = "choice::deserialize")]
    pub client_certificate: ClientCertificate,
    /// How often the files are looked at for changes; `100ms` to `1h`, default `10s`.
    #[serde(with = "text::duration")]
    pub check_every: Duration,
}

impl Default for TlsSettings {
    fn default() -> Self {
        Self {
            certificate: None,
            key: None,
            client_ca: None,
            client_certificate: ClientCertificate::Off,
            check_every: Duration::from_secs(10),
        }
    }
}

/// Whether clients must present a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClientCertificate {
    /// None is asked for.
    #[default]
    Off,
    /// One is asked for, and verified if it comes.
    Optional,
    /// Without a good one there is no connection.
    Required,
}

/// What connections and requests may take: `[limits]`.
/// What may be asked of Cognito, in each account and Region: `[budget]`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
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

/// What one request may take: `[limits]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitSettings {
    /// The time until a request is answered or given up; `10ms` to `60s`, default `3s`.
    #[serde(with = "text::duration")]
    pub request_timeout: Duration,
    /// The time for the TLS handshake and the HTTP/2 preface together; `10ms` to `60s`, default `5s`.
    #[serde(with = "text::duration")]
    pub handshake_timeout: Duration,
    /// The time for which a client may leave answers unread; `10ms` to `10min`, default `10s`.
    #[serde(with = "text::duration")]
    pub stall_timeout: Duration,
    /// The age at which a connection is ended in good order, give or take a tenth; `10ms` to `24h`, default `5min`.
    #[serde(with = "text::duration")]
    pub connection_age: Duration,
    /// The silence after which a client is pinged; `10ms` to `1h`, default `30s`.
    #[serde(with = "text::duration")]
    pub keepalive_interval: Duration,
    /// The time for the answer to a ping; `10ms` to `10min`, default `10s`.
    #[serde(with = "text::duration")]
    pub keepalive_timeout: Duration,
    /// The connections held at once; 1 to 1,000,000, default 10,000.
    #[serde(deserialize_with = "text::number")]
    pub connections: usize,
    /// The connections held at once from one address, or one IPv6 network of 64 bits; 1 to 1,000,000, default 1,000.
    #[serde(deserialize_with = "text::number")]
    pub connections_per_peer: usize,
    /// The calls under way at once on one connection; 1 to 10,000, default 100.
    #[serde(deserialize_with = "text::number")]
    pub streams: usize,
    /// The calls of one connection that may break the protocol before it is ended; 1 to 1,000,000, default 1,024.
    #[serde(deserialize_with = "text::number")]
    pub local_error_resets: usize,
    /// The calls of one connection that may be taken back before they are looked at; 1 to 10,000, default 20.
    #[serde(deserialize_with = "text::number")]
    pub pending_accept_resets: usize,
    /// The bytes that the metadata of one call may take; `4KiB` to `1MiB`, default `64KiB`.
    #[serde(with = "text::size")]
    pub header_list: u64,
    /// The bytes that the message of one call may take; `1KiB` to `4MiB`, default `64KiB`.
    #[serde(with = "text::size")]
    pub message: u64,
}

impl Default for LimitSettings {
    fn default() -> Self {
        Self {
            // Longer than Cognito ever takes (two attempts of 1 s), shorter than a person waits.
            request_timeout: Duration::from_secs(3),
            // Two round trips over the slowest link, and a full accept queue before them.
            handshake_timeout: Duration::from_secs(5),
            // An answer is a few KiB; a client that cannot take it in this time has gone or means harm.
            stall_timeout: Duration::from_secs(10),
            // Clients are spread again over the replicas in this time, and an idle one is let go.
            connection_age: Duration::from_secs(5 * 60),
            // Within the idle timeout of AWS's load balancers (60 s for ALB, 350 s for NLB).
            keepalive_interval: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(10),
            // Some 60 KiB each with TLS, so that all of them fit in 1 GiB.
            connections: 10_000,
            // A tenth of all, and yet room for a load balancer that hides who is behind it.
            connections_per_peer: 1_000,
            // A lookup is one short call; a client that wants more at once opens another connection (Envoy's edge advice).
            streams: 100,
            // hyper's own bounds (RUSTSEC-2024-0003, CVE-2023-44487).
            local_error_resets: 1_024,
            pending_accept_resets: 20,
            // The largest legal token, about 20 KiB, twice, with room for what proxies add.
            header_list: 64 * bytesize::KIB,
            // A token of at most 32 KiB and a list of short names.
            message: 64 * bytesize::KIB,
        }
    }
}

/// How the process ends: `[shutdown]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShutdownSettings {
    /// How long requests are still accepted after the signal; `0s` to `10min`, default `5s`.
    #[serde(with = "text::duration")]
    pub delay: Duration,
    /// How long requests in flight may then take; `0s` to `10min`, default `20s`.
    #[serde(with = "text::duration")]
    pub grace: Duration,
}

impl Default for ShutdownSettings {
    fn default() -> Self {
        Self { delay: Duration::from_secs(5), grace: Duration::from_secs(20) }
    }
}

/// What is logged, and how: `[log]`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
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
