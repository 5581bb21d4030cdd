//! One configured caller: how it is known, whom it may read, and what of them.

mod reader;

use std::sync::Arc;

use self::reader::Reader;
use super::{CallerRateLimit, network::Network};
use crate::{
    attribute::Selection,
    auth::{AlternativeName, Identity},
    config::{Config, ErrorCollector},
    pool::{ClientId, Pools},
};

/// What one kind of caller may do.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) name: Arc<str>,
    pub(super) matcher: CallerMatcher,
    pub(super) reads: Reads,
    pub(super) attributes: Arc<Selection>,
    pub(super) groups: bool,
    pub(super) admin: bool,
    pub(super) caller_limit: Option<CallerRateLimit>,
    /// Where in the settings it stands.
    pub(super) key: String,
}

/// How a caller is known.
#[derive(Debug)]
pub(super) enum CallerMatcher {
    /// By the app client of a token, which must have the scope if there is one.
    AppClient(ClientId, Option<Scope>),
    /// By a name in the client certificate.
    Certificate(AlternativeName),
    /// By the network it calls from, without a credential.
    Network(Vec<Network>),
}

/// Whom a caller may read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Reads {
    /// Any user, by `sub`.
    Any,
    /// The user whose access token it presents.
    Token,
}

impl Rule {
    /// Returns true if and only if this rule is about `identity`.
    pub(super) fn matches(&self, identity: &Identity) -> bool {
        match (&self.matcher, identity) {
            (CallerMatcher::AppClient(id, _), Identity::Machine(client) | Identity::User(client)) => {
                *id == client.id
            }
            (CallerMatcher::Certificate(name), Identity::Certificate(certificate)) => certificate.has(name),
            (CallerMatcher::Network(networks), Identity::Address(address)) => {
                networks.iter().any(|network| network.contains(*address))
            }
            _ => false,
        }
    }

    /// Returns true if and only if the token of `identity` lacks the scope that this rule demands.
    pub(super) fn lacks_scope(&self, identity: &Identity) -> bool {
        match (&self.matcher, identity) {
            (
                CallerMatcher::AppClient(_, Some(scope)),
                Identity::Machine(client) | Identity::User(client),
            ) => !client.scopes.has(&scope.0),
            _ => false,
        }
    }

    /// Returns true if and only if somebody beyond this machine may be matched without a credential.
    pub(super) fn accepts_remote_networks(&self) -> bool {
        let CallerMatcher::Network(networks) = &self.matcher else { return false };
        networks.iter().any(|network| !network.is_local())
    }

    fn overlaps(&self, other: &Self) -> bool {
        match (&self.matcher, &other.matcher) {
            (CallerMatcher::AppClient(own, _), CallerMatcher::AppClient(others, _)) => own == others,
            (CallerMatcher::Certificate(own), CallerMatcher::Certificate(others)) => own == others,
            (CallerMatcher::Network(own), CallerMatcher::Network(others)) => {
                own.iter().any(|network| others.iter().any(|other| network.overlaps(*other)))
            }
            _ => false,
        }
    }
}

/// A scope that a token must have (RFC 6749, section 3.3).
#[derive(Debug)]
pub(super) struct Scope(String);

/// Reads every caller's settings; none if anything is wrong, which `errors` then says.
pub(super) fn read(
    config: &Config,
    pools: Option<&Pools>,
    errors: &mut ErrorCollector<'_>,
) -> Option<Vec<Rule>> {
    if config.callers.is_empty() {
        errors.add("callers", "must name a caller: set attributes, or [[callers]] in the settings file");
    }
    let rules: Vec<Option<Rule>> = config
        .callers
        .iter()
        .enumerate()
        .map(|(n, caller)| Reader { caller, key: format!("callers[{n}]"), config, pools }.read(errors))
        .collect();
    for (n, rule) in rules.iter().enumerate() {
        let earlier = || rules.iter().take(n).flatten();
        let Some(rule) = rule else { continue };
        if earlier().any(|other| other.name == rule.name) {
            errors.add(format!("callers[{n}].name"), "is the name of another caller too");
        }
        if let Some(other) = earlier().find(|other| other.overlaps(rule)) {
            errors.add(format!("callers[{n}]"), format!("matches the same callers as {:?}", other.name));
        }
    }
    rules.into_iter().collect()
}
