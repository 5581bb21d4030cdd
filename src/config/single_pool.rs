//! `user_pool_id`, `app_clients` and `attributes`, in place of `[[pools]]` and `[[callers]]`.

use super::{
    CallerSettings, Config, ErrorCollector,
    error::{SINGLE_POOL_KEYS, has_single_pool_errors},
};

/// Turns the settings of a single pool into `[[pools]]` and `[[callers]]`, for all other modules.
pub(super) fn expand(mut config: Config) -> Config {
    if keys_set(&config).next().is_some() {
        let mut errors = ErrorCollector::new(&config);
        check(&config, &mut errors);
        config.errors = errors.into_errors();
        if !has_single_pool_errors(&config) {
            add_pool(&mut config);
            add_callers(&mut config);
        }
    }
    config
}

fn check(config: &Config, errors: &mut ErrorCollector<'_>) {
    let has_pools = config.pools.len() > 1
        || config.pools.iter().any(|pool| !pool.id.is_empty() || !pool.app_clients.is_empty());
    if let Some(key) = keys_set(config).next().filter(|_| has_pools) {
        return errors.add(key, "is for a single pool, and [[pools]] is set too; use one of the two");
    }
    if config.user_pool_id.is_none() {
        errors.add("user_pool_id", "must be set where app_clients or attributes are");
    }
    for (key, names) in [("app_clients", &config.app_clients), ("attributes", &config.attributes)] {
        if names.is_empty() {
            errors.add(key, "must be set where user_pool_id is");
        }
    }
}

fn keys_set(config: &Config) -> impl Iterator<Item = &'static str> {
    let set = [config.user_pool_id.is_some(), !config.app_clients.is_empty(), !config.attributes.is_empty()];
    SINGLE_POOL_KEYS.into_iter().zip(set).filter_map(|(key, set)| set.then_some(key))
}

fn add_pool(config: &mut Config) {
    let mut pool = config.pools.pop().unwrap_or_default();
    pool.id = config.user_pool_id.clone().unwrap_or_default();
    pool.app_clients.clone_from(&config.app_clients);
    config.pools.push(pool);
    config.copy_value_source("user_pool_id", "pools[0].id");
    config.copy_value_source("app_clients", "pools[0].app_clients");
}

fn add_callers(config: &mut Config) {
    for client in config.app_clients.clone() {
        let key = format!("callers[{}]", config.callers.len());
        config.callers.push(CallerSettings {
            name: client.clone(),
            app_client: Some(client),
            attributes: config.attributes.clone(),
            ..CallerSettings::default()
        });
        config.copy_value_source("app_clients", &key);
        config.copy_value_source("attributes", &format!("{key}.attributes"));
    }
}

impl Config {
    fn copy_value_source(&mut self, from: &str, to: &str) {
        let value_source = self.value_source(from);
        self.value_sources.insert(to.to_owned(), value_source);
        self.derived.insert(to.to_owned(), from.to_owned());
    }
}

#[cfg(test)]
mod tests;
