//! The components under measurement, and the permits of many users.

use std::sync::Arc;

use cognito_lookup::{
    config::Config,
    freshness::FreshnessRequirement,
    policy::Permit,
    telemetry::metrics::{Metrics, cache::Store},
    users::Users,
};
use cognito_standin::StandIn;

use super::lookups::{self, Lookups};

pub(super) struct Parts {
    pub(super) cognito: StandIn,
    pub(super) users: Users,
    metrics: Metrics,
    lookups: Lookups,
}

impl Parts {
    /// Starts them for `people` users, with changed settings.
    pub(super) async fn start(people: usize, change: impl FnOnce(&mut Config)) -> Self {
        // Twentyfold as in `zipf`: the service takes the lower of the quota and the settings.
        let cognito = lookups::cognito(people, 120 * 20);
        let mut config = lookups::config(&cognito);
        change(&mut config);
        let metrics = Metrics::new();
        let lookups = Lookups::start(&config, None, &metrics).await;
        Self { cognito, users: lookups.users.clone(), metrics, lookups }
    }

    pub(super) fn evicted(&self) -> u64 {
        self.metrics.cache.evictions.get(Store::Users).get()
    }

    /// Returns the permit to read each of the first `people` users.
    pub(super) async fn permits(&self, people: usize) -> Arc<[Permit]> {
        let mut permits = Vec::with_capacity(people);
        for n in 0..people {
            permits.push(self.lookups.permit(n, FreshnessRequirement::Any).await);
        }
        permits.into()
    }
}
