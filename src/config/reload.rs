//! What a reload of the settings may change: the pools and the callers.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;

use super::{Config, builder::flatten};

/// What is different in newly loaded settings.
#[derive(Debug)]
pub struct Reload {
    /// The running settings with the pools and callers of the new ones.
    pub config: Config,
    /// What changes, such as `callers[web] added`; empty if nothing does.
    pub changes: Vec<String>,
    /// The keys of other settings that differ. They take effect at the next start.
    pub ignored: Vec<String>,
}

impl Config {
    /// Compares newly loaded settings with these, which are in use.
    pub fn reload(&self, new: Self) -> Reload {
        let mut changes = differences("pools", &self.pools, &new.pools, |pool| &pool.id);
        changes.extend(differences("callers", &self.callers, &new.callers, |caller| &caller.name));
        let [running, loaded] = [self, &new].map(other_settings);
        let ignored: BTreeSet<_> =
            running.symmetric_difference(&loaded).map(|(key, _)| key.clone()).collect();
        let Self { pools, callers, errors, value_sources, derived, .. } = new;
        Reload {
            config: Self { pools, callers, errors, value_sources, derived, ..self.clone() },
            changes,
            ignored: ignored.into_iter().collect(),
        }
    }
}

/// Returns the rows of an array of tables that were added, removed or changed, by their names.
fn differences<T: Serialize>(array: &str, old: &[T], new: &[T], name: fn(&T) -> &String) -> Vec<String> {
    let find = |rows: &[T], wanted: &str| rows.iter().find(|row| name(row) == wanted).map(json);
    let names: BTreeSet<_> = old.iter().chain(new).map(name).collect();
    let differences = names.into_iter().filter_map(|name| {
        let what = match (find(old, name), find(new, name)) {
            (None, _) => "added",
            (_, None) => "removed",
            (old, new) if old == new => return None,
            _ => "changed",
        };
        Some(format!("{array}[{name}] {what}"))
    });
    differences.collect()
}

/// Returns every setting that a reload does not change, with its value as text.
fn other_settings(config: &Config) -> BTreeSet<(String, String)> {
    let is_other =
        |key: &str| !RELOADED.iter().any(|table| key == *table || key.starts_with(&format!("{table}[")));
    let settings = flatten(config).into_iter().filter(|(key, _)| is_other(key));
    settings.map(|(key, value)| (key, value.to_string())).collect()
}

fn json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

// The settings of a single pool stand for a pool and its callers.
const RELOADED: [&str; 5] = ["pools", "callers", "user_pool_id", "app_clients", "attributes"];

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::{CallerSettings, PoolSettings};

    #[test]
    fn pools_and_callers_are_taken_and_other_changes_are_named() {
        let caller = |name: &str| CallerSettings { name: name.into(), ..CallerSettings::default() };
        let pool = |id: &str| PoolSettings { id: id.into(), ..PoolSettings::default() };
        let old = Config {
            pools: vec![pool("a"), pool("b")],
            callers: vec![caller("web"), caller("old")],
            ..Config::default()
        };
        let mut new = Config {
            pools: vec![pool("b")],
            callers: vec![caller("new"), CallerSettings { admin: true, ..caller("web") }],
            ..Config::default()
        };
        new.cache.fresh_for = Duration::from_secs(5);
        new.reflection = false;
        let Reload { config, changes, ignored } = old.reload(new);
        assert_eq!(
            changes,
            ["pools[a] removed", "callers[new] added", "callers[old] removed", "callers[web] changed"]
        );
        assert_eq!(ignored, ["cache.fresh_for", "reflection"]);
        assert_eq!((config.pools.len(), config.callers.len(), config.reflection), (1, 2, true));
        let same = old.reload(old.clone());
        assert!(same.changes.is_empty() && same.ignored.is_empty(), "{same:?}");
    }
}
