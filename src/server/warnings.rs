//! What is valid in the settings but unwise.

use std::{net::SocketAddr, time::Duration};

use thiserror::Error;

use super::components::Components;
use crate::{
    config::{AuditSink, CallerSettings, Config, ListenAddress, ValueSource},
    policy::Risk,
    shared_cache::SharedCacheConfig,
};

/// A setting that is valid but unwise.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("{message} ({})", value_source.origin())]
pub struct Warning {
    /// The setting, and why it is unwise.
    pub message: String,
    /// Where its value came from; [`ValueSource::Default`] if it is unwise not to set it.
    pub value_source: ValueSource,
    /// The name of the caller that it is about, if it is about one.
    pub caller: Option<String>,
}

/// Returns a warning for each setting that is valid but unwise.
pub(super) fn warnings(config: &Config, components: &Components) -> Vec<Warning> {
    let pools = components.pools.iter().enumerate();
    let urls = pools.flat_map(|(n, pool)| pool.unusual_urls().into_iter().map(move |url| (n, pool, url)));
    let of_urls = urls.map(|(n, pool, url)| {
        let name = if pool.endpoint_url.as_ref() == Some(&url) { "endpoint_url" } else { "jwks_url" };
        let message = format!("{url} is an endpoint of {} that is not AWS's own over HTTPS", pool.id);
        (format!("pools[{n}].{name}"), message, None)
    });
    let fixed = fixed(config, components).into_iter().filter(|(is_unwise, ..)| *is_unwise);
    let of_fixed = fixed.map(|(_, keys, message)| {
        let is_set = |key: &&str| config.value_source(key) != ValueSource::Default;
        let key = keys.into_iter().find(is_set).unwrap_or_default();
        (key.to_owned(), message.to_owned(), None)
    });
    let risks: Vec<_> = components.policy.risks().collect();
    let has = |caller: &CallerSettings, risk| risks.contains(&(&*caller.name, risk));
    let of_callers = config.callers.iter().enumerate().filter_map(|(n, caller)| {
        let of_network =
            || has(caller, Risk::RemoteNetwork).then_some("on a remote network needs no credential");
        let of_proxy = || {
            has(caller, Risk::Proxied)
                .then_some("with proxied = true is any client of the proxy, without a credential")
        };
        let problem = of_caller(config, caller).or_else(of_proxy).or_else(of_network)?;
        let name = &caller.name;
        Some((format!("callers[{n}].network"), format!("caller {name:?} {problem}"), Some(name.clone())))
    });
    let of_key =
        components.audit.warning().map(|warning| ("audit.key_file".to_owned(), warning.to_owned(), None));
    let of_shared_cache = components.shared_cache.iter().flat_map(SharedCacheConfig::warnings);
    let of_shared_cache = of_shared_cache.cloned().map(|(key, message)| (key, message, None));
    let all = of_urls.chain(of_fixed).chain(of_callers).chain(of_key).chain(of_shared_cache);
    all.map(|(key, message, caller)| Warning { message, value_source: config.value_source(&key), caller })
        .collect()
}

/// Returns warnings of single settings: whether it applies, the keys that may cause it, the text.
fn fixed(config: &Config, components: &Components) -> [(bool, [&'static str; 2], &'static str); 6] {
    let Config { listen, admin_listen, audit, cache, limits, shutdown, .. } = config;
    let is = |test: &dyn Fn(SocketAddr) -> bool| matches!(listen, ListenAddress::Tcp(at) if test(*at));
    [
        (
            is(&|at| !at.ip().is_loopback()) && components.tls.is_none(),
            ["listen", ""],
            "without tls.certificate, tokens and attributes are sent in cleartext unless a mesh encrypts them",
        ),
        (
            is(&|at| overlap(at, *admin_listen)),
            ["admin_listen", "listen"],
            "admin_listen has the port of listen, so the second of them cannot be opened",
        ),
        (
            shutdown.grace < limits.request_timeout,
            ["shutdown.grace", "limits.request_timeout"],
            "shutdown.grace is shorter than limits.request_timeout, so a stop may cut calls in progress",
        ),
        (
            limits.request_timeout < COGNITO_TIMEOUT,
            ["limits.request_timeout", ""],
            "limits.request_timeout is shorter than a call to Cognito may take (1 s)",
        ),
        (
            cache.fresh_for > LONG_TTL,
            ["cache.fresh_for", ""],
            "cache.fresh_for is longer than an hour, and a disabled user is served as enabled for that time",
        ),
        (
            audit.sink == AuditSink::Off,
            ["audit.sink", ""],
            "audit.sink is off, so nothing records who read what",
        ),
    ]
}

/// Returns what is unwise about the networks of a caller.
fn of_caller(config: &Config, caller: &CallerSettings) -> Option<&'static str> {
    let is_unix = matches!(config.listen, ListenAddress::Unix(_));
    let is_useless = |network: &String| (network == "unix") != is_unix;
    if caller.network.is_empty() {
        None
    } else if caller.network.iter().all(is_useless) {
        Some("has no network that can connect to listen")
    } else if is_unix && config.socket_mode & WORLD_WRITABLE != 0 {
        Some("may be every user of this machine, by socket_mode")
    } else if caller.network.iter().any(|network| network.ends_with("/0")) {
        Some(if caller.attributes == ["*"] {
            "may be anyone, who then reads every attribute without a credential"
        } else {
            "may be anyone, without a credential"
        })
    } else {
        None
    }
}

/// Returns whether two addresses cannot be listened on at the same time. Port 0 stands for any.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let is_any = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0 && one.port() == other.port() && (is_any || one.ip() == other.ip())
}

// The timeout of one attempt.
const COGNITO_TIMEOUT: Duration = Duration::from_secs(1);
const LONG_TTL: Duration = Duration::from_secs(60 * 60);
const WORLD_WRITABLE: u32 = 0o002;
