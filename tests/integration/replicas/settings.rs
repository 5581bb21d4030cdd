use std::net::SocketAddr;

use cognito_standin::StandIn;
use rustls::ClientConfig;

use crate::support::WEB;

/// The settings of a replica.
#[derive(Clone)]
pub(crate) struct Settings {
    /// The lines that say where the store is, in place of the URL of the replica's proxy.
    pub(crate) servers: Option<String>,
    /// The names of the key files; the first of the value keys seals.
    pub(crate) index_key: &'static str,
    pub(crate) value_keys: Vec<&'static str>,
    /// Further lines of `[shared_cache]`.
    pub(crate) shared_cache: String,
    /// The lines of `[cache]`.
    pub(crate) cache: String,
    /// Whether changes arrive by the queue of the stand-in.
    pub(crate) events: bool,
    /// The lines of `[budget]`. By default the rate limit does not bind, also where a replica has only
    /// its part of it.
    pub(crate) budget: String,
    /// Further tables.
    pub(crate) tables: String,
    pub(crate) log: &'static str,
    /// Whether callers of this machine may watch.
    pub(crate) watch: bool,
    /// How clients connect if `tables` has `[tls]`.
    pub(crate) client_tls: Option<ClientConfig>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            servers: None,
            index_key: "index",
            value_keys: vec!["value"],
            shared_cache: PATIENT.to_owned(),
            cache: String::new(),
            events: false,
            budget: "user_reads_per_second = 100000\ngroup_reads_per_second = 100000\n".to_owned(),
            tables: String::new(),
            log: "info",
            watch: false,
            client_tls: None,
        }
    }
}

/// So that a busy machine is no fault of the store.
const PATIENT: &str = "timeout = \"1s\"\n";

impl Settings {
    /// The settings with the time limits of production.
    pub(crate) fn of_production() -> Self {
        Self { shared_cache: String::new(), ..Self::default() }
    }

    /// The settings with these further lines of `[shared_cache]`.
    pub(crate) fn with(shared_cache: &str) -> Self {
        Self { shared_cache: format!("{PATIENT}{shared_cache}"), ..Self::default() }
    }

    /// The settings with the queue of changes.
    pub(crate) fn with_events() -> Self {
        Self { events: true, ..Self::default() }
    }

    /// The settings with this TTL.
    pub(crate) fn fresh_for(ttl: &str) -> Self {
        Self { cache: format!("fresh_for = \"{ttl}\"\n"), ..Self::default() }
    }

    /// Returns the settings file. `key_file` returns the path of a key file.
    pub(crate) fn text(
        &self,
        cognito: &StandIn,
        store: SocketAddr,
        key_file: impl Fn(&str) -> String,
    ) -> String {
        let servers = self.servers.clone().unwrap_or_else(|| format!("url = \"redis://{store}\""));
        let value_keys: Vec<_> = self.value_keys.iter().map(|name| key_file(name)).collect();
        let (index_key, Self { shared_cache, cache, budget, tables, watch, .. }) =
            (key_file(self.index_key), self);
        let (id, issuer) = (cognito.pool_id(), cognito.issuer());
        let (jwks, endpoint) = (cognito.jwks_url(), cognito.endpoint_url());
        let events = if self.events { format!("[events]\n{}", events(cognito)) } else { String::new() };
        format!(
            r#"
listen = "127.0.0.1:0"
workers = 1
shutdown.delay = "0s"
[budget]
{budget}
[cache]
{cache}
[shared_cache]
{servers}
index_key_file = {index_key:?}
value_key_files = {value_keys:?}
{shared_cache}
{events}
[[pools]]
id = "{id}"
issuer = "{issuer}"
jwks_url = "{jwks}"
endpoint_url = "{endpoint}"
app_clients = ["{WEB}"]
[[callers]]
name = "web"
app_client = "{WEB}"
attributes = ["name", "email"]
groups = true
[[callers]]
name = "sidecar"
network = ["127.0.0.0/8"]
reads = "any"
attributes = ["name"]
groups = true
admin = true
watch = {watch}
{tables}
"#
        )
    }
}

fn events(cognito: &StandIn) -> String {
    let (queue, endpoint) = (cognito.queue_url(), cognito.endpoint_url());
    format!("queue_url = {queue:?}\nregion = \"eu-west-1\"\nendpoint_url = {endpoint:?}\n")
}
