//! The settings of the streams of changes.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bounded::{Bounded, DAY, MINUTE};

/// The streams of changes (`WatchUsers`), for callers with `watch`. `[watch]`
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WatchSettings {
    /// The age at which a stream ends, give or take a tenth, so that load spreads and credentials are
    /// checked again. It ends earlier with its connection (`limits.connection_age`); default `1h`.
    #[serde(with = "Bounded::<Duration, MINUTE, DAY>")]
    pub max_age: Duration,
    /// The most streams of one caller; default `8`.
    #[serde(with = "Bounded::<usize, 1, 100_000>")]
    pub streams_per_caller: usize,
    /// The most streams of all callers. Each takes up to 0.5 MB of `limits.memory`; default `256`.
    #[serde(with = "Bounded::<usize, 1, 100_000>")]
    pub streams: usize,
}

impl Default for WatchSettings {
    fn default() -> Self {
        Self { max_age: Duration::from_secs(60 * 60), streams_per_caller: 8, streams: 256 }
    }
}
