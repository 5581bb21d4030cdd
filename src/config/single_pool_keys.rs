//! The keys of the settings of a single pool, and of the settings that they are turned into.

use super::Config;

pub(super) const KEYS: [&str; 3] = ["user_pool_id", "app_clients", "attributes"];
// The other settings of the pool, such as the address of an emulator, stay in `[[pools]]`.
pub(super) const SET_KEYS: [&str; 4] = ["pools", "callers", "pools[0].id", "pools[0].app_clients"];

pub(super) fn has_errors(config: &Config) -> bool {
    config.errors.iter().any(|error| KEYS.contains(&&*error.key))
}

/// Returns whether errors in the settings of a single pool are why `key` is not set.
pub(super) fn failed_to_set(config: &Config, key: &str) -> bool {
    SET_KEYS.contains(&key) && has_errors(config)
}
