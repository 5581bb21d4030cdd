//! The settings of a server of ours.

use std::{fmt, path::PathBuf};

use cognito_standin::StandIn;

/// Under all of them everything is a hit once it was asked for: nothing grows old in the time of a bench.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) pool_id: String,
    pub(crate) issuer: String,
    pub(crate) endpoint_url: String,
    /// As TOML has lists.
    pub(crate) attributes: String,
    /// The folder of the certificates, where callers must have one.
    pub(crate) certificates: Option<PathBuf>,
    /// What users may take.
    pub(crate) cache: &'static str,
    pub(crate) connections: usize,
    /// One for each core where it is 0.
    pub(crate) workers: usize,
}

impl Settings {
    /// The defaults, before the stand-in.
    pub(crate) fn before(cognito: &StandIn) -> Self {
        Self {
            pool_id: cognito.pool_id().to_owned(),
            issuer: cognito.issuer().to_owned(),
            endpoint_url: cognito.endpoint_url(),
            attributes: ATTRIBUTES.to_owned(),
            certificates: None,
            cache: "256MiB",
            connections: 1_000,
            workers: 0,
        }
    }
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pool_id, issuer, endpoint_url, attributes, cache, connections, workers, .. } = self;
        let whom = match &self.certificates {
            None => r#"network = ["127.0.0.1/32"]"#.to_owned(),
            Some(_) => format!("certificate = \"{CALLER}\""),
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
[tls]
{tls}
[[pools]]
id = "{pool_id}"
issuer = "{issuer}"
endpoint_url = "{endpoint_url}"
app_clients = ["sandboxwebclient0000000001"]
[[callers]]
name = "web"
app_client = "sandboxwebclient0000000001"
attributes = {attributes}
[[callers]]
name = "service"
{whom}
reads = "any"
attributes = {attributes}
"#
        )
    }
}

/// The name in the certificate of who may ask.
pub(crate) const CALLER: &str = "billing.example.com";
const ATTRIBUTES: &str = r#"["name", "given_name", "family_name", "email", "locale", "custom:plan"]"#;
