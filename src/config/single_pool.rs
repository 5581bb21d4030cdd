//! The one-pool shorthand: `user_pool_id`, `app_clients` and `attributes` spelled out as a pool and its callers.

use super::{CallerSettings, Config, ConfigErrors, ErrorCollector, ValueSource};

/// Spells the shorthand out, so that nobody above needs to know of it; half a one is a fault, and so is one beside
/// `[[pools]]`.
pub(super) fn expand(mut config: Config) -> Config {
    if keys_set(&config).next().is_none() {
        return config;
    }
    config.errors = check(&config).map_or_else(|errors| errors.0, |()| Vec::new());
    if is_faulty(&config) { config } else { expanded(config) }
}

/// Returns true if and only if the shorthand stands for `key` and is at fault itself, so that a fault of `key` would
/// only repeat that.
pub(super) fn is_derived_from_faulty(config: &Config, key: &str) -> bool {
    DERIVED_KEYS.contains(&key) && is_faulty(config)
}

fn is_faulty(config: &Config) -> bool {
    config.errors.iter().any(|fault| KEYS.contains(&&*fault.key))
}

fn check(config: &Config) -> Result<(), ConfigErrors> {
    let mut errors = ErrorCollector::new(config);
    let beside = config.pools.len() > 1
        || config.pools.iter().any(|pool| !pool.id.is_empty() || !pool.app_clients.is_empty());
    if let Some(key) = keys_set(config).next().filter(|_| beside) {
        errors.add(key, "is for one pool alone, and [[pools]] names pools too; use one of the two");
        return errors.finish(Some(()));
    }
    if config.user_pool_id.is_none() {
        errors.add("user_pool_id", "must be set where app_clients or attributes are");
    }
    for (key, names) in [("app_clients", &config.app_clients), ("attributes", &config.attributes)] {
        if names.is_empty() {
            errors.add(key, "must be set where user_pool_id is");
        }
    }
    errors.finish(Some(()))
}

/// Returns the keys of the shorthand that are set.
fn keys_set(config: &Config) -> impl Iterator<Item = &'static str> {
    let set = [config.user_pool_id.is_some(), !config.app_clients.is_empty(), !config.attributes.is_empty()];
    KEYS.into_iter().zip(set).filter_map(|(key, set)| set.then_some(key))
}

fn expanded(mut config: Config) -> Config {
    let [pool, clients, attributes] = KEYS.map(|key| config.value_source(key));
    let mut one = config.pools.pop().unwrap_or_default();
    one.id = config.user_pool_id.clone().unwrap_or_default();
    one.app_clients.clone_from(&config.app_clients);
    config.pools.push(one);
    config.set_value_source("pools[0].id", &pool);
    config.set_value_source("pools[0].app_clients", &clients);
    for client in config.app_clients.clone() {
        let n = config.callers.len();
        config.callers.push(CallerSettings {
            name: client.clone(),
            app_client: Some(client),
            attributes: config.attributes.clone(),
            ..CallerSettings::default()
        });
        config.set_value_source(&format!("callers[{n}]"), &clients);
        config.set_value_source(&format!("callers[{n}].attributes"), &attributes);
    }
    config
}

impl Config {
    fn set_value_source(&mut self, key: &str, value_source: &ValueSource) {
        self.value_sources.insert(key.to_owned(), value_source.clone());
    }
}

const KEYS: [&str; 3] = ["user_pool_id", "app_clients", "attributes"];
// A pool's other settings, such as an emulator's address, are its own.
const DERIVED_KEYS: [&str; 4] = ["pools", "callers", "pools[0].id", "pools[0].app_clients"];

#[cfg(test)]
mod tests {
    use super::{
        super::{Sources, value_source::PREFIX},
        *,
    };

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
        let value_source = |key: &str| config.value_source(key).to_string();
        assert_eq!(value_source("pools[0].id"), "environment COGNITO_LOOKUP_USER_POOL_ID");
        assert_eq!(value_source("callers[1].attributes[0]"), "environment COGNITO_LOOKUP_ATTRIBUTES");
        assert_eq!(value_source("callers[1].app_client"), "environment COGNITO_LOOKUP_APP_CLIENTS");
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

    #[test]
    fn a_shorthand_beside_pools_is_one_fault() {
        let two = [("USER_POOL_ID", "a"), ("POOLS__0__ID", "b")];
        let one = [("ATTRIBUTES", "name"), ("POOLS__0__ID", "b"), ("POOLS__1__ID", "c")];
        for (variables, key) in [(&two[..], "user_pool_id"), (&one, "attributes")] {
            let text = "is for one pool alone, and [[pools]] names pools too; use one of the two";
            let expected = format!("{key}: {text} (environment {PREFIX}{})", key.to_uppercase());
            assert_eq!(load(variables).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn modules_above_do_not_repeat_its_faults() {
        let beside = ("POOLS__0__ENDPOINT_URL", "ftp://x");
        for variables in [
            &[("USER_POOL_ID", "eu-west-1_A"), beside][..],
            &[("USER_POOL_ID", "eu-west-1_A"), ("APP_CLIENTS", "a,,b"), ("ATTRIBUTES", "name"), beside],
            &[("USER_POOL_ID", "eu-west-1_A"), ("POOLS__0__ID", "eu-west-1_B"), beside],
        ] {
            let config = read(variables).unwrap();
            let own = config.errors.len();
            let mut collector = ErrorCollector::new(&config);
            for key in DERIVED_KEYS.into_iter().chain(["pools[0].endpoint_url", "callers[0].name"]) {
                collector.add(key, "is wrong");
            }
            assert_eq!(collector.finish(Some(())).unwrap_err().iter().count(), own + 2, "{variables:?}");
        }
        let none = Config::default();
        let mut collector = ErrorCollector::new(&none);
        collector.add("pools", "is wrong");
        assert!(collector.finish(Some(())).is_err(), "without a shorthand it is told");
    }

    fn load(variables: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
        read(variables).and_then(Config::validated)
    }

    fn read(variables: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
        let environment =
            variables.iter().map(|(name, value)| (format!("{PREFIX}{name}").into(), value.into()));
        Config::load(Sources { file: None, environment: environment.collect(), flags: Vec::new() })
    }
}
