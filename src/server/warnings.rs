//! What is valid in the settings but unwise.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use thiserror::Error;
use tracing::warn;

use super::components::Components;
use crate::{
    config::{AuditSink, BudgetScope, CallerSettings, Config, ListenAddress, ValueSource},
    policy::{Policy, Risk},
    pool::{Pool, Pools},
    shared_cache::SharedCacheConfig,
    users,
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
    /// Whether the choice is often right, and an operator only has to know its risk.
    pub is_usual: bool,
}

impl Warning {
    /// Logs it.
    pub(super) fn log(&self) {
        let Self { message, value_source, caller, .. } = self;
        warn!(from = %value_source, caller.name = caller, "{message}");
    }

    /// Returns whether a strict check of the settings fails on it.
    pub fn fails_strict_check(&self) -> bool {
        !self.is_usual && self.value_source != ValueSource::Default
    }
}

/// Returns a warning for each setting that is valid but unwise.
pub(super) fn warnings(config: &Config, components: &Components) -> Vec<Warning> {
    let warning = |key: String, message| Warning {
        message,
        value_source: config.value_source(&key),
        caller: None,
        is_usual: false,
    };
    let of_urls = of_urls(&components.pools).map(|(key, message)| warning(key, message));
    let of_accounts = of_accounts(&components.pools).map(|(key, message)| warning(key, message));
    let of_accounts = of_accounts.map(|warning| Warning { is_usual: true, ..warning });
    let fixed = fixed(config, components).into_iter().filter(|(is_unwise, ..)| *is_unwise);
    let of_fixed = fixed.map(|(_, keys, message)| {
        let is_set = |key: &&str| config.value_source(key) != ValueSource::Default;
        let key = keys.into_iter().find(is_set).unwrap_or_default();
        warning(key.to_owned(), message.to_owned())
    });
    let of_memory = config.memory_excess().map(|message| warning("cache.max_bytes".to_owned(), message));
    let of_key = components.audit.warning().map(|text| warning("audit.key_file".to_owned(), text.to_owned()));
    let of_callers = of_callers(config, &components.policy);
    let of_shared_cache = components.shared_cache.iter().flat_map(SharedCacheConfig::warnings);
    let of_shared_cache = of_shared_cache.cloned().map(|(key, message)| warning(key, message));
    let sharing = components.shared_cache.iter().filter_map(|shared| shared.rate_limit.as_ref());
    let of_rates =
        sharing.flat_map(|sharing| users::rates_beyond_quota(&config.budget, sharing.replicas_at_most));
    // Right if the account's quota was raised.
    let of_rates = of_rates.map(|(key, message)| Warning { is_usual: true, ..warning(key, message) });
    of_urls
        .chain(of_accounts)
        .chain(of_fixed)
        .chain(of_callers)
        .chain(of_key)
        .chain(of_memory)
        .chain(of_shared_cache)
        .chain(of_rates)
        .collect()
}

/// Returns a warning for each caller that is valid but unwise.
pub(super) fn of_callers(config: &Config, policy: &Policy) -> Vec<Warning> {
    let mut warnings = Vec::new();
    for (n, caller) in config.callers.iter().enumerate() {
        let value_source = config.value_source(&format!("callers[{n}].network"));
        warnings.extend(of_caller(config, caller, policy).into_iter().map(|(problem, is_usual)| Warning {
            message: format!("caller {:?} {problem}", caller.name),
            value_source: value_source.clone(),
            caller: Some(caller.name.clone()),
            is_usual,
        }));
    }
    warnings
}

/// Returns the key and the message of each URL that is not AWS's own over HTTPS.
fn of_urls(pools: &Pools) -> impl Iterator<Item = (String, String)> {
    let urls = pools.iter().enumerate();
    let urls = urls.flat_map(|(n, pool)| pool.unusual_urls().into_iter().map(move |url| (n, pool, url)));
    urls.map(|(n, pool, url)| {
        let name = if pool.endpoint_url.as_ref() == Some(&url) { "endpoint_url" } else { "jwks_url" };
        let message = format!("{url} is an endpoint of {} that is not AWS's own over HTTPS", pool.id);
        (format!("pools[{n}].{name}"), message)
    })
}

/// Returns the key and the message of each pool whose account is not known, beside one of the same
/// Region whose account is: if it is the same one, the account's quotas are used by two rate limits.
fn of_accounts(pools: &Pools) -> impl Iterator<Item = (String, String)> {
    let unknown = pools.iter().enumerate().filter(|(_, pool)| pool.account.is_none());
    unknown.filter_map(|(n, pool)| {
        let is_known = |other: &&Arc<Pool>| other.account.is_some() && other.region == pool.region;
        let other = pools.iter().find(is_known)?;
        let message = format!(
            "pool {} has no account and {} of the same Region has one, so each has a rate limit of its own: \
             set pools[{n}].account",
            pool.id, other.id
        );
        Some((format!("pools[{n}].account"), message))
    })
}

/// Returns warnings of single settings: whether it applies, the keys that may cause it, the text.
fn fixed(config: &Config, components: &Components) -> [(bool, [&'static str; 2], &'static str); 7] {
    let Config { listen, admin_listen, audit, cache, limits, shutdown, .. } = config;
    let shares_rate = config.budget.scope == BudgetScope::Shared
        && config.value_source("budget.scope") != ValueSource::Default;
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
        (
            shares_rate && components.shared_cache.is_none(),
            ["budget.scope", ""],
            "budget.scope is shared, but without shared_cache.url each replica has the rate limit for itself",
        ),
    ]
}

/// Returns what is unwise about the networks of a caller, and whether it is usual.
fn of_caller(config: &Config, caller: &CallerSettings, policy: &Policy) -> Vec<(&'static str, bool)> {
    let has = |risk| policy.risks().any(|found| found == (&*caller.name, risk));
    let unwise = of_networks(config, caller)
        .or_else(|| has(Risk::Proxied).then_some(PROXIED))
        .or_else(|| has(Risk::RemoteNetwork).then_some("on a remote network needs no credential"));
    // No caller of a Unix socket has an address on loopback.
    let is_tcp = matches!(config.listen, ListenAddress::Tcp(_));
    let usual = (is_tcp && has(Risk::Loopback)).then_some((LOOPBACK, true));
    unwise.map(|problem| (problem, false)).into_iter().chain(usual).collect()
}

fn of_networks(config: &Config, caller: &CallerSettings) -> Option<&'static str> {
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

const PROXIED: &str = "with proxied = true is any client of the proxy, without a credential";
const LOOPBACK: &str = "on loopback needs no credential, and a proxy on this machine that leaves no marks in a call \
                        makes its remote clients this caller; serve a Unix socket, or require a credential";
// The timeout of one attempt.
const COGNITO_TIMEOUT: Duration = Duration::from_secs(1);
const LONG_TTL: Duration = Duration::from_secs(60 * 60);
const WORLD_WRITABLE: u32 = 0o002;
