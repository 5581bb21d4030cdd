//! One configured caller: how it is recognised, which users it may read, and what of them.

mod reader;

use std::sync::Arc;

use self::reader::Reader;
use super::{CallerRateLimit, answer_limit::AnswerLimit, network::Network};
use crate::{
    attribute::Selection,
    auth::{AlternativeName, Identity, Principal},
    config::{Config, ErrorCollector, Reads},
    pool::{ClientId, Pools},
};

/// One entry of `callers` in the settings.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) name: Arc<str>,
    /// The principal of its callers in audit records.
    pub(super) principal: Principal,
    pub(super) matcher: CallerMatcher,
    pub(super) reads: Reads,
    pub(super) attributes: Arc<Selection>,
    pub(super) groups: bool,
    pub(super) admin: bool,
    pub(super) watch: bool,
    pub(super) caller_limit: CallerRateLimit,
    /// The limit on all answers; none if there is none.
    pub(super) answer_limit: Option<AnswerLimit>,
    /// The key of the entry, such as `callers[0]`.
    pub(super) key: String,
}

/// What is risky about a rule that requires no credential.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Risk {
    /// It matches a network beyond this machine.
    RemoteNetwork,
    /// It matches loopback, where a local proxy calls from too.
    Loopback,
    /// It matches what a proxy forwards.
    Proxied,
}

impl CallerMatcher {
    /// Returns the principal of the callers of the rule with this name.
    fn principal(&self, rule: &str) -> Principal {
        match self {
            Self::AppClient(client, _) => Principal::app_client(client.as_str()),
            Self::Certificate(name) => Principal::certificate(name.as_str()),
            Self::Network { .. } => Principal::rule(rule),
        }
    }
}

/// What a caller is recognised by.
#[derive(Debug)]
pub(super) enum CallerMatcher {
    /// The app client of its token, and the scope that the token must have, if any (RFC 6749,
    /// section 3.3).
    AppClient(ClientId, Option<String>),
    /// A name in its client certificate.
    Certificate(AlternativeName),
    /// The networks it calls from without a credential, and whether through a proxy too.
    Network { networks: Vec<Network>, proxied: bool },
}

impl Rule {
    /// Returns whether this rule matches `identity`, whatever its scopes.
    pub(super) fn matches(&self, identity: &Identity) -> bool {
        match (&self.matcher, identity) {
            (CallerMatcher::AppClient(id, _), Identity::Machine(client) | Identity::User(client)) => {
                *id == client.id
            }
            (CallerMatcher::Certificate(name), Identity::Certificate(certificate)) => certificate.has(name),
            (CallerMatcher::Network { networks, proxied }, Identity::Address { address, is_proxied }) => {
                (*proxied || !is_proxied)
                    && networks.iter().any(|network| network.contains(*address, *proxied))
            }
            _ => false,
        }
    }

    /// Returns whether `identity`, which this rule matches, has the scope that it requires, if any.
    pub(super) fn has_scope(&self, identity: &Identity) -> bool {
        let CallerMatcher::AppClient(_, Some(scope)) = &self.matcher else { return true };
        match identity {
            Identity::Machine(client) | Identity::User(client) => client.scopes.has(scope),
            Identity::Address { .. } | Identity::Certificate(_) => false,
        }
    }

    /// Returns what is risky about a rule that requires no credential.
    pub(super) fn risks(&self) -> impl Iterator<Item = Risk> {
        let (networks, proxied) = match &self.matcher {
            CallerMatcher::Network { networks, proxied } => (networks.as_slice(), *proxied),
            CallerMatcher::AppClient(..) | CallerMatcher::Certificate(_) => (&[][..], false),
        };
        let remote = networks.iter().any(|network| !network.is_local()).then_some(Risk::RemoteNetwork);
        let loopback = !proxied && networks.iter().any(|network| network.covers_loopback());
        let proxied = proxied.then_some(Risk::Proxied);
        [remote, loopback.then_some(Risk::Loopback), proxied].into_iter().flatten()
    }

    fn overlaps(&self, other: &Self) -> bool {
        match (&self.matcher, &other.matcher) {
            (CallerMatcher::AppClient(own, _), CallerMatcher::AppClient(others, _)) => own == others,
            (CallerMatcher::Certificate(own), CallerMatcher::Certificate(others)) => own == others,
            (
                CallerMatcher::Network { networks: own, .. },
                CallerMatcher::Network { networks: others, .. },
            ) => own.iter().any(|network| others.iter().any(|other| network.overlaps(*other))),
            _ => false,
        }
    }
}

/// Reads every caller's settings. Returns none if there are `errors`.
pub(super) fn read(
    config: &Config,
    pools: Option<&Pools>,
    errors: &mut ErrorCollector<'_>,
) -> Option<Vec<Rule>> {
    if config.callers.is_empty() {
        errors.add("callers", "must have an entry: set attributes, or [[callers]] in the settings file");
    }
    let mut rules: Vec<Option<Rule>> = Vec::with_capacity(config.callers.len());
    for (n, caller) in config.callers.iter().enumerate() {
        let key = format!("callers[{n}]");
        let rule = Reader { caller, key: &key, config, pools, errors }.read();
        if config.callers.iter().take(n).any(|other| other.name == caller.name) {
            errors.add(format!("{key}.name"), "is the name of another caller too: give each its own");
        }
        let overlapping = |other: &&Rule| rule.as_ref().is_some_and(|rule| other.overlaps(rule));
        if let Some(other) = rules.iter().flatten().find(overlapping) {
            errors.add(key, format!("matches the same callers as {:?}", other.name));
        }
        rules.push(rule);
    }
    // A rule with an error is kept only to find more errors.
    rules.into_iter().collect::<Option<_>>().filter(|_| errors.is_empty())
}
