//! One configured caller: how it is known, whom it may read, and what of them.

use std::sync::Arc;

use super::{Share, network::Network};
use crate::{
    attribute::Selection,
    auth::Identity,
    config::{CallerSettings, Collector, Config, Reads as ReadsSetting},
    pool::{ClientId, Pools},
};

/// What one kind of caller may do.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) name: Arc<str>,
    pub(super) who: Who,
    pub(super) reads: Reads,
    pub(super) attributes: Selection,
    pub(super) share: Option<Share>,
}

/// How a caller is known.
#[derive(Debug)]
pub(super) enum Who {
    /// By the app client of a user's token.
    AppClient(ClientId),
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
        match (&self.who, identity) {
            (Who::AppClient(client), Identity::Person(person)) => *client == person.client,
            (Who::Network(networks), Identity::Peer(peer)) => {
                networks.iter().any(|network| network.contains(*peer))
            }
            _ => false,
        }
    }

    /// Returns true if and only if somebody beyond this machine may be matched without a credential.
    pub(super) fn is_open(&self) -> bool {
        let Who::Network(networks) = &self.who else { return false };
        networks.iter().any(|network| !network.is_local())
    }

    fn overlaps(&self, other: &Self) -> bool {
        match (&self.who, &other.who) {
            (Who::AppClient(own), Who::AppClient(others)) => own == others,
            (Who::Network(own), Who::Network(others)) => {
                own.iter().any(|network| others.iter().any(|other| network.overlaps(*other)))
            }
            _ => false,
        }
    }
}

/// Reads every caller's settings; none if anything is wrong, which `faults` then says.
pub(super) fn read(config: &Config, pools: Option<&Pools>, faults: &mut Collector<'_>) -> Option<Vec<Rule>> {
    if config.callers.is_empty() {
        faults.add("callers", "must name a caller: set attributes, or [[callers]] in the settings file");
    }
    let rules: Vec<Option<Rule>> = config
        .callers
        .iter()
        .enumerate()
        .map(|(n, caller)| read_one(caller, &format!("callers[{n}]"), pools, faults))
        .collect();
    for (n, rule) in rules.iter().enumerate() {
        let earlier = || rules.iter().take(n).flatten();
        let Some(rule) = rule else { continue };
        if earlier().any(|other| other.name == rule.name) {
            faults.add(format!("callers[{n}].name"), "is the name of another caller too");
        }
        if let Some(other) = earlier().find(|other| other.overlaps(rule)) {
            faults.add(format!("callers[{n}]"), format!("matches the same callers as {:?}", other.name));
        }
    }
    rules.into_iter().collect()
}

fn read_one(
    caller: &CallerSettings,
    key: &str,
    pools: Option<&Pools>,
    faults: &mut Collector<'_>,
) -> Option<Rule> {
    if caller.name.is_empty() || caller.name.len() > 64 || caller.name.contains(char::is_control) {
        faults.add(format!("{key}.name"), "must be 1 to 64 characters");
    }
    let who = read_who(caller, key, pools, faults);
    let reads = read_reads(caller, key, faults);
    let attributes = read_attributes(&caller.attributes, &format!("{key}.attributes"), faults);
    let name: Arc<str> = caller.name.as_str().into();
    let share = caller.misses_per_second;
    let share = share.map(|misses_per_second| Share { caller: Arc::clone(&name), misses_per_second });
    Some(Rule { name, who: who?, reads: reads?, attributes: attributes?, share })
}

fn read_who(
    caller: &CallerSettings,
    key: &str,
    pools: Option<&Pools>,
    faults: &mut Collector<'_>,
) -> Option<Who> {
    match (&caller.app_client, caller.network.as_slice()) {
        (Some(client), []) => {
            let key = format!("{key}.app_client");
            let client: ClientId = faults.parsed(&key, client)?;
            if pools.is_some_and(|pools| !pools.iter().any(|pool| pool.app_clients.contains(&client))) {
                faults.add(key, "is in no pool's app_clients, so its tokens are not accepted");
            }
            Some(Who::AppClient(client))
        }
        (None, networks @ [_, ..]) => {
            let read = |(n, text): (usize, &String)| {
                let fault = |problem| faults.add(format!("{key}.network[{n}]"), problem);
                Network::read(text).map_err(fault).ok()
            };
            let networks: Vec<_> = networks.iter().enumerate().map(read).collect();
            networks.into_iter().collect::<Option<_>>().map(Who::Network)
        }
        _ => {
            faults.add(key, "must be known by exactly one of app_client and network");
            None
        }
    }
}

fn read_reads(caller: &CallerSettings, key: &str, faults: &mut Collector<'_>) -> Option<Reads> {
    match (caller.reads, &caller.app_client) {
        (ReadsSetting::Token, _) => Some(Reads::Token),
        // A user's token names its user; were it to open every other, one leaked token would be the whole pool.
        (ReadsSetting::Any, Some(_)) => {
            faults.add(
                format!("{key}.reads"),
                "may be \"any\" only for a caller known by network, not by a user's token",
            );
            None
        }
        (ReadsSetting::Any, None) => Some(Reads::Any),
    }
}

fn read_attributes(names: &[String], key: &str, faults: &mut Collector<'_>) -> Option<Selection> {
    match names {
        [] => {
            faults.add(key, "must name what is released; a caller that may read nothing needs no rule");
            None
        }
        [all] if all == "*" => Some(Selection::Everything),
        names => {
            let read = |(n, name): (usize, &String)| {
                let key = format!("{key}[{n}]");
                if name == "*" {
                    faults.add(key, "stands for everything, so it must stand alone");
                    return None;
                }
                faults.parsed(&key, name)
            };
            let names: Vec<_> = names.iter().enumerate().map(read).collect();
            names.into_iter().collect::<Option<_>>().map(Selection::Only)
        }
    }
}
