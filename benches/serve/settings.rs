//! The settings of the service under test.

use std::{fmt, path::PathBuf};

use cognito_standin::StandIn;

/// The settings that scenarios change. The TTLs outlast the bench, so every call after the first is
/// a cache hit.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) pool_id: String,
    pub(crate) issuer: String,
    pub(crate) endpoint_url: String,
    /// A TOML array.
    pub(crate) attributes: String,
    /// The folder of the certificates, if clients must present one.
    pub(crate) certificates: Option<PathBuf>,
    /// The value of `cache.max_bytes`.
    pub(crate) cache: &'static str,
    pub(crate) connections: usize,
    /// 0 means one for each core.
    pub(crate) workers: usize,
    /// Whether the caller without a certificate may watch all users, and expire them.
    pub(crate) is_watched: bool,
}

impl Settings {
    /// Returns the default settings with the stand-in as their Cognito.
    pub(crate) fn before(cognito: &StandIn) -> Self {
        Self {
            pool_id: cognito.pool_id().to_owned(),
            issuer: cognito.issuer().to_owned(),
            endpoint_url: cognito.endpoint_url(),
            attributes: format!("{ATTRIBUTES:?}"),
            certificates: None,
            cache: "256MiB",
            connections: 1_000,
            workers: 0,
            is_watched: false,
        }
    }
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            pool_id, issuer, endpoint_url, attributes, cache, connections, workers, is_watched, ..
        } = self;
        let caller = match &self.certificates {
            None => r#"network = ["127.0.0.1/32"]"#.to_owned(),
            Some(_) => format!("certificate = \"{CALLER}\""),
        };
        let watching = match is_watched {
            true => "memory = \"4GiB\"\n[watch]\nstreams = 20000\nstreams_per_caller = 20000",
            false => "",
        };
        let tls = self.certificates.as_ref().map_or_else(String::new, |folder| {
            let file = |name| folder.join(name).display().to_string();
            let [certificate, key, authority] = ["server.pem", "server.key", "authority.pem"].map(file);
            format!(
                "certificate = {certificate:?}\nkey = {key:?}\nclient_ca = {authority:?}\n\
                 client_certificate = \"required\""
            )
        });
        write!(
            f,
            r#"listen = "127.0.0.1:0"
admin_listen = "127.0.0.1:0"
workers = {workers}
[budget]
user_reads_per_second = 100000
[cache]
fresh_for = "24h"
usable_for = "24h"
max_bytes = "{cache}"
[limits]
connection_age = "24h"
connections = 20000
connections_per_peer = {connections}
keepalive_interval = "1h"
{watching}
[tls]
{tls}
[[pools]]
id = "{pool_id}"
issuer = "{issuer}"
endpoint_url = "{endpoint_url}"
app_clients = ["{APP_CLIENT}"]
[[callers]]
name = "web"
app_client = "{APP_CLIENT}"
attributes = {attributes}
[[callers]]
name = "service"
{caller}
reads = "any"
attributes = {attributes}
watch = {is_watched}
admin = {is_watched}
"#
        )
    }
}

/// The name in the client certificate of the caller.
pub(crate) const CALLER: &str = "billing.example.com";
pub(crate) const APP_CLIENT: &str = "sandboxwebclient0000000001";
pub(crate) const ATTRIBUTES: [&str; 6] =
    ["name", "given_name", "family_name", "email", "locale", "custom:plan"];
