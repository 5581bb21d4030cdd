//! Reads one entry of `callers` as a rule, and reports everything that is wrong with it.

use std::fmt::Display;

use super::{
    super::{CallerRateLimit, answer_limit::AnswerLimit, network::Network},
    CallerMatcher, Rule,
};
use crate::{
    attribute::{AttributeName, Selection},
    config::{CallerSettings, ClientCertificate, Config, ErrorCollector, Reads},
    pool::{ClientId, Pools},
};

/// One caller's settings, and the other settings that they are checked against.
pub(super) struct Reader<'a, 'e> {
    pub(super) caller: &'a CallerSettings,
    /// The key of the entry, such as `callers[0]`.
    pub(super) key: &'a str,
    pub(super) config: &'a Config,
    pub(super) pools: Option<&'a Pools>,
    pub(super) errors: &'a mut ErrorCollector<'e>,
}

impl Reader<'_, '_> {
    pub(super) fn read(mut self) -> Option<Rule> {
        let CallerSettings {
            name, reads, groups, admin, watch, misses_per_second, answers_per_second, ..
        } = self.caller;
        if name.is_empty() || name.len() > 64 || name.contains(char::is_control) {
            self.refuse("name", "must be 1 to 64 characters without control characters");
        }
        let (matcher, attributes) = (self.matcher(), self.attributes());
        self.check_reads_and_admin();
        let caller_limit = CallerRateLimit::new(name, *misses_per_second);
        let matcher = matcher?;
        Some(Rule {
            name: name.as_str().into(),
            principal: matcher.principal(name),
            matcher,
            reads: *reads,
            attributes: attributes.into(),
            groups: *groups,
            admin: *admin,
            watch: *watch,
            caller_limit,
            answer_limit: answers_per_second.map(AnswerLimit::new),
            key: self.key.to_owned(),
        })
    }

    fn matcher(&mut self) -> Option<CallerMatcher> {
        let CallerSettings { app_client, certificate, network, .. } = self.caller;
        let scope = self.scope();
        match (app_client, certificate, network.as_slice()) {
            (Some(client), None, []) => Some(CallerMatcher::AppClient(self.app_client(client)?, scope)),
            (None, Some(name), []) => {
                if self.config.tls.client_certificate == ClientCertificate::Off {
                    let problem = "needs tls.client_certificate to be \"required\" or \"optional\"";
                    self.refuse("certificate", problem);
                }
                self.parse("certificate", name).map(CallerMatcher::Certificate)
            }
            (None, None, networks @ [_, ..]) => {
                let networks = networks.iter().enumerate().filter_map(|(n, text)| {
                    Network::read(text).map_err(|problem| self.refuse(&format!("network[{n}]"), problem)).ok()
                });
                let networks = networks.collect();
                Some(CallerMatcher::Network { networks, proxied: self.caller.proxied })
            }
            _ => {
                self.errors.add(self.key, "must have exactly one of app_client, certificate and network");
                None
            }
        }
    }

    fn app_client(&mut self, client: &str) -> Option<ClientId> {
        let client: ClientId = self.parse("app_client", client)?;
        if self.pools.is_some_and(|pools| !pools.iter().any(|pool| pool.app_clients.contains(&client))) {
            self.refuse("app_client", "is in no pool's app_clients, so its tokens would not be accepted");
        }
        Some(client)
    }

    fn scope(&mut self) -> Option<String> {
        let scope = self.caller.scope.as_ref()?;
        let is_allowed = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\\');
        if scope.is_empty() || !scope.chars().all(is_allowed) {
            self.refuse("scope", format!("{scope:?} is not a scope such as user-lookup/read"));
        } else if self.caller.app_client.is_none() {
            self.refuse("scope", "needs app_client: only a token has scopes");
        }
        Some(scope.clone())
    }

    /// Every user of an app client can get a token of it. Only a scope proves that an administrator
    /// granted the client more.
    fn check_reads_and_admin(&mut self) {
        let CallerSettings { reads, admin, watch, app_client, scope, network, .. } = self.caller;
        if self.caller.proxied && network.is_empty() {
            self.refuse("proxied", "needs network: it is about callers without a credential");
        }
        if *watch && *reads != Reads::Any {
            self.refuse("watch", "needs reads to be \"any\": it reports the changes of all users");
        }
        let lacks_scope = app_client.is_some() && scope.is_none();
        let is_remote = |network: &String| Network::read(network).is_ok_and(|network| !network.is_local());
        if *reads == Reads::Any && lacks_scope {
            self.refuse("reads", "may be \"any\" for an app client only with a scope: set scope");
        }
        if *admin && lacks_scope {
            self.refuse("admin", "may be true for an app client only with a scope: set scope");
        } else if *admin && (self.caller.proxied || network.iter().any(is_remote)) {
            self.refuse("admin", "may be true only for networks within this machine, and without proxied");
        }
    }

    fn attributes(&mut self) -> Selection {
        match self.caller.attributes.as_slice() {
            [all] if all == "*" => return Selection::All,
            [] => self.refuse("attributes", "must name the attributes that the caller may read"),
            _ => {}
        }
        let names = self.caller.attributes.iter().enumerate();
        Selection::Only(names.filter_map(|(n, name)| self.attribute(n, name)).collect())
    }

    fn attribute(&mut self, n: usize, name: &str) -> Option<AttributeName> {
        let key = format!("attributes[{n}]");
        let attribute: AttributeName = self.parse(&key, name)?;
        if name == "*" {
            self.refuse(&key, "means all attributes, so it must be the only entry");
        } else if !attribute.is_known() {
            let problem = "is not an attribute of a user pool; custom attributes are named custom:NAME";
            self.refuse(&key, format!("{name:?} {problem}"));
        }
        Some(attribute)
    }

    fn parse<T: std::str::FromStr<Err: Display>>(&mut self, field: &str, text: &str) -> Option<T> {
        self.errors.parsed(&format!("{}.{field}", self.key), text)
    }

    fn refuse(&mut self, field: &str, problem: impl Display) {
        self.errors.add(format!("{}.{field}", self.key), problem);
    }
}
