//! The one-pool shorthand: `user_pool_id`, `app_clients` and `attributes` spelled out as a pool and its callers.

use super::{CallerSettings, Config, Faults, Origin};

/// Spells the shorthand out, so that nobody above needs to know of it; half a one is a fault.
pub(super) fn expand(mut config: Config) -> Config {
    if !config.uses_shorthand() {
        return config;
    }
    let known = config.faults.len();
    config.faults = check(&config).map_or_else(|faults| faults.0, |()| Vec::new());
    if config.faults.len() == known { spelled_out(config) } else { config }
}

fn check(config: &Config) -> Result<(), Faults> {
    let mut faults = Faults::collector(config);
    if config.pools.len() > 1 || config.pools.iter().any(|pool| !pool.id.is_empty()) {
        faults.add(
            "user_pool_id",
            "and its app_clients and attributes stand for the one pool; use [[pools]] and [[callers]] alone",
        );
    }
    if config.user_pool_id.is_none() {
        faults.add("user_pool_id", "must be set where app_clients or attributes are");
    }
    for (key, names) in [("app_clients", &config.app_clients), ("attributes", &config.attributes)] {
        if names.is_empty() {
            faults.add(key, "must be set where user_pool_id is");
        }
    }
    faults.finish(Some(()))
}

fn spelled_out(mut config: Config) -> Config {
    let [pool, clients, attributes] =
        ["user_pool_id", "app_clients", "attributes"].map(|key| config.origin(key));
    let mut one = config.pools.pop().unwrap_or_default();
    one.id = config.user_pool_id.clone().unwrap_or_default();
    one.app_clients.clone_from(&config.app_clients);
    config.pools.push(one);
    config.note("pools[0].id", &pool);
    config.note("pools[0].app_clients", &clients);
    for client in config.app_clients.clone() {
        let n = config.callers.len();
        config.callers.push(CallerSettings {
            name: client.clone(),
            app_client: Some(client),
            attributes: config.attributes.clone(),
            ..CallerSettings::default()
        });
        config.note(&format!("callers[{n}]"), &clients);
        config.note(&format!("callers[{n}].attributes"), &attributes);
    }
    config
}

impl Config {
    /// Returns true if and only if any part of the one-pool shorthand is set.
    pub fn uses_shorthand(&self) -> bool {
        self.user_pool_id.is_some() || !self.app_clients.is_empty() || !self.attributes.is_empty()
    }

    fn note(&mut self, key: &str, origin: &Origin) {
        self.origins.insert(key.to_owned(), origin.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Sources, *};

    #[test]
    fn one_pool_is_spelled_out_with_its_sources() {
        let config =
            load(&[("USER_POOL_ID", "eu-west-1_A"), ("APP_CLIENTS", "one,two"), ("ATTRIBUTES", "name")])
                .unwrap();
        assert_eq!(config.pools.len(), 1);
        assert_eq!(config.pools[0].id, "eu-west-1_A");
        assert_eq!(config.pools[0].app_clients, ["one", "two"]);
        let callers: Vec<_> =
            config.callers.iter().map(|caller| (&*caller.name, caller.app_client.as_deref())).collect();
        assert_eq!(callers, [("one", Some("one")), ("two", Some("two"))]);
        assert!(config.callers.iter().all(|caller| caller.attributes == ["name"]));
        let origin = |key: &str| config.origin(key).to_string();
        assert_eq!(origin("pools[0].id"), "environment COGNITO_LOOKUP_USER_POOL_ID");
        assert_eq!(origin("callers[1].attributes[0]"), "environment COGNITO_LOOKUP_ATTRIBUTES");
        assert_eq!(origin("callers[1].app_client"), "environment COGNITO_LOOKUP_APP_CLIENTS");
    }

    #[test]
    fn the_one_pool_may_be_an_emulators() {
        let config = load(&[
            ("USER_POOL_ID", "local_A"),
            ("APP_CLIENTS", "one"),
            ("ATTRIBUTES", "name"),
            ("POOLS__0__ENDPOINT_URL", "http://127.0.0.1:9229"),
        ]);
        let pool = config.unwrap().pools.remove(0);
        assert_eq!((&*pool.id, pool.endpoint_url.as_deref()), ("local_A", Some("http://127.0.0.1:9229")));
    }

    #[test]
    fn half_a_shorthand_is_a_fault() {
        let keys = |variables: &[(&str, &str)]| {
            load(variables).unwrap_err().iter().map(|fault| fault.key.clone()).collect::<Vec<_>>()
        };
        assert_eq!(keys(&[("USER_POOL_ID", "eu-west-1_A")]), ["app_clients", "attributes"]);
        assert_eq!(keys(&[("ATTRIBUTES", "name")]), ["user_pool_id", "app_clients"]);
        let both = [("USER_POOL_ID", "a"), ("APP_CLIENTS", "a"), ("ATTRIBUTES", "a"), ("POOLS__0__ID", "b")];
        assert_eq!(keys(&both), ["user_pool_id"]);
    }

    fn load(variables: &[(&str, &str)]) -> Result<Config, Faults> {
        let environment =
            variables.iter().map(|(name, value)| (format!("COGNITO_LOOKUP_{name}").into(), value.into()));
        Config::load(Sources { file: None, environment: environment.collect(), flags: Vec::new() })
            .and_then(Config::sound)
    }
}
