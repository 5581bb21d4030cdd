//! The targets `settings_file` and `settings_environment`.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a target that panics reports a bug"
)]

use std::collections::BTreeMap;

use super::{Config, ConfigErrors, Sources, builder::ConfigBuilder, file, single_pool};
use crate::oracle::Input;

/// Valid settings are the same after they are printed and read again.
pub(crate) fn settings_file(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    check(load(text));
}

/// As [`settings_file`], for lines such as `CACHE__FRESH_FOR=1min`, each a variable without its prefix.
pub(crate) fn settings_environment(input: &[u8]) {
    let mut input = Input::new(input);
    let lines: Vec<_> = std::iter::from_fn(|| input.line()).collect();
    let variables = lines.iter().filter_map(|line| line.split_once('='));
    // A test reads no file that its input names.
    let variables = variables.filter(|(name, _)| *name != "CONFIG");
    let environment = variables.map(|(name, value)| (format!("COGNITO_LOOKUP_{name}").into(), value.into()));
    check(Config::load(Sources { environment: environment.collect(), ..Sources::default() }));
}

fn check(read: Result<Config, ConfigErrors>) {
    let Ok(config) = read.and_then(Config::validated) else { return };
    // Other modules refuse a row without its name, so such settings are never printed.
    let has_names = config.pools.iter().all(|pool| !pool.id.is_empty())
        && config.callers.iter().all(|caller| !caller.name.is_empty());
    if !has_names {
        return;
    }
    let printed = config.to_toml(&BTreeMap::new());
    let again = load(&printed).and_then(Config::validated).expect("what is printed is valid");
    let json = |config: &Config| serde_json::to_value(config).expect("settings are JSON");
    assert_eq!(json(&again), json(&config), "printed as\n{printed}");
}

fn load(text: &str) -> Result<Config, ConfigErrors> {
    let mut builder = ConfigBuilder::default();
    file::merge_text(&mut builder, "settings.toml".into(), text)?;
    Ok(single_pool::expand(Config::of(builder)))
}
