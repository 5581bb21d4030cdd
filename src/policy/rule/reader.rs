//! Reads one caller's settings as a rule, or says all that is wrong with them.

use std::sync::Arc;

use super::{
    super::{CallerRateLimit, network::Network},
    CallerMatcher, Reads, Rule, Scope,
};
use crate::{
    attribute::{AttributeName, Selection},
    auth::AlternativeName,
    config::{CallerSettings, ClientCertificate, Config, ErrorCollector, Reads as ReadsSetting},
    pool::{ClientId, Pools},
};

/// One caller's settings, and what they are held against.
pub(super) struct Reader<'a> {
    pub(super) caller: &'a CallerSettings,
    pub(super) key: String,
    pub(super) config: &'a Config,
    pub(super) pools: Option<&'a Pools>,
}

impl Reader<'_> {
    pub(super) fn read(&self, errors: &mut ErrorCollector<'_>) -> Option<Rule> {
        let Self { caller, key, .. } = self;
        if caller.name.is_empty() || caller.name.len() > 64 || caller.name.contains(char::is_control) {
            errors.add(format!("{key}.name"), "must be 1 to 64 characters");
        }
        let matcher = self.matcher(errors);
        let reads = self.reads(errors);
        let attributes = read_attributes(&caller.attributes, &format!("{key}.attributes"), errors);
        let admin = self.admin(errors);
        let name: Arc<str> = caller.name.as_str().into();
        let caller_limit = caller.misses_per_second;
        let caller_limit = caller_limit
            .map(|misses_per_second| CallerRateLimit { caller: Arc::clone(&name), misses_per_second });
        let (matcher, reads, attributes, admin, key) = (matcher?, reads?, attributes?, admin?, key.clone());
        Some(Rule {
            name,
            matcher,
            reads,
            attributes: attributes.into(),
            groups: caller.groups,
            admin,
            caller_limit,
            key,
        })
    }

    fn matcher(&self, errors: &mut ErrorCollector<'_>) -> Option<CallerMatcher> {
        let CallerSettings { app_client, certificate, network, .. } = self.caller;
        let scope = self.scope(errors);
        match (app_client, certificate, network.as_slice()) {
            (Some(client), None, []) => self
                .app_client(client, errors)
                .zip(scope)
                .map(|(id, scope)| CallerMatcher::AppClient(id, scope)),
            (None, Some(name), []) => self.certificate(name, errors).map(CallerMatcher::Certificate),
            (None, None, networks @ [_, ..]) => self.networks(networks, errors).map(CallerMatcher::Network),
            _ => {
                let problem = "must be known by exactly one of app_client, certificate and network";
                errors.add(self.key.as_str(), problem);
                None
            }
        }
    }

    fn app_client(&self, client: &str, errors: &mut ErrorCollector<'_>) -> Option<ClientId> {
        let key = format!("{}.app_client", self.key);
        let client: ClientId = errors.parsed(&key, client)?;
        if self.pools.is_some_and(|pools| !pools.iter().any(|pool| pool.app_clients.contains(&client))) {
            errors.add(key, "is in no pool's app_clients, so its tokens are not accepted");
        }
        Some(client)
    }

    fn certificate(&self, name: &str, errors: &mut ErrorCollector<'_>) -> Option<AlternativeName> {
        let key = format!("{}.certificate", self.key);
        let name = errors.parsed(&key, name)?;
        if self.config.tls.client_certificate == ClientCertificate::Off {
            errors.add(key, "is never seen: set tls.client_certificate to \"required\" or \"optional\"");
        }
        Some(name)
    }

    fn networks(&self, networks: &[String], errors: &mut ErrorCollector<'_>) -> Option<Vec<Network>> {
        let read = |(n, text): (usize, &String)| {
            let error = |problem| errors.add(format!("{}.network[{n}]", self.key), problem);
            Network::read(text).map_err(error).ok()
        };
        let networks: Vec<_> = networks.iter().enumerate().map(read).collect();
        networks.into_iter().collect()
    }

    /// None if it is at fault; a caller need not have one.
    fn scope(&self, errors: &mut ErrorCollector<'_>) -> Option<Option<Scope>> {
        let Some(scope) = &self.caller.scope else { return Some(None) };
        let key = format!("{}.scope", self.key);
        let token = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\\');
        if scope.is_empty() || !scope.chars().all(token) {
            errors.add(key, format!("{scope:?} is no scope such as user-lookup/read"));
            return None;
        }
        if self.caller.app_client.is_none() {
            errors.add(key, "is of a token, so the caller must be known by app_client");
            return None;
        }
        Some(Some(Scope(scope.clone())))
    }

    fn reads(&self, errors: &mut ErrorCollector<'_>) -> Option<Reads> {
        match self.caller {
            CallerSettings { reads: ReadsSetting::Token, .. } => Some(Reads::Token),
            // Whatever an app client may ask for itself would open everybody; a scope is given for a purpose.
            CallerSettings { reads: ReadsSetting::Any, app_client: Some(_), scope: None, .. } => {
                let problem = "may be \"any\" for an app client only with a scope that its token must have";
                errors.add(format!("{}.reads", self.key), problem);
                None
            }
            CallerSettings { reads: ReadsSetting::Any, .. } => Some(Reads::Any),
        }
    }

    fn admin(&self, errors: &mut ErrorCollector<'_>) -> Option<bool> {
        // Whatever an app client may ask for itself would make an administrator of everybody.
        if let CallerSettings { admin: true, app_client: Some(_), scope: None, .. } = self.caller {
            let problem = "may be true for an app client only with a scope that its token must have";
            errors.add(format!("{}.admin", self.key), problem);
            return None;
        }
        // Nor may everybody be one who reaches the port.
        let is_wide = |network: &String| Network::read(network).is_ok_and(|network| !network.is_local());
        if self.caller.admin && self.caller.network.iter().any(is_wide) {
            let problem = "may be true for a network only where that is within this machine";
            errors.add(format!("{}.admin", self.key), problem);
            return None;
        }
        Some(self.caller.admin)
    }
}

fn read_attributes(names: &[String], key: &str, errors: &mut ErrorCollector<'_>) -> Option<Selection> {
    match names {
        [] => {
            errors.add(key, "must name what is released; a caller that may read nothing needs no rule");
            None
        }
        [all] if all == "*" => Some(Selection::All),
        names => {
            let read = |(n, name): (usize, &String)| {
                let key = format!("{key}[{n}]");
                if name == "*" {
                    errors.add(key, "stands for everything, so it must stand alone");
                    return None;
                }
                let parsed: AttributeName = errors.parsed(&key, name)?;
                if !parsed.is_known() {
                    let problem = "is no attribute of a user pool: its own are called custom:NAME";
                    errors.add(key, format!("{name:?} {problem}"));
                }
                Some(parsed)
            };
            let names: Vec<_> = names.iter().enumerate().map(read).collect();
            names.into_iter().collect::<Option<_>>().map(Selection::Only)
        }
    }
}
