//! Builds the components of the server from the settings, and reports all errors at once.

use std::sync::Arc;

use super::tls::Tls;
use crate::{
    audit::Audit,
    config::{Config, ConfigErrors, ErrorCollector},
    events::EventsConfig,
    outgoing::Outgoing,
    policy::Policy,
    pool::Pools,
    shared_cache::{SharedCacheConfig, ValueKeys},
    telemetry::metrics::Metrics,
};

/// The components of a server, all of them valid.
#[derive(Debug)]
pub(super) struct Components {
    pub(super) audit: Audit,
    /// None if changes arrive by the TTL only.
    pub(super) events: Option<EventsConfig>,
    pub(super) metrics: Metrics,
    pub(super) outgoing: Outgoing,
    pub(super) pools: Pools,
    pub(super) policy: Arc<Policy>,
    /// None if replicas share nothing.
    pub(super) shared_cache: Option<SharedCacheConfig>,
    pub(super) tls: Option<Arc<Tls>>,
}

impl Components {
    /// Builds the components, or returns everything that is wrong with the settings.
    pub(super) fn read(config: &Config) -> Result<Self, ConfigErrors> {
        let mut errors = ErrorCollector::new(config);
        let pools = Pools::read(config, &mut errors);
        let policy = Policy::read(config, pools.as_ref(), &mut errors);
        let metrics = Metrics::new();
        metrics.callers.set_names(config.callers.iter().map(|caller| &*caller.name));
        let tls = Tls::read(config, &metrics, &mut errors).map(Arc::new);
        let audit = Audit::read(config, pools.as_ref(), &metrics, &mut errors);
        let shared_cache = SharedCacheConfig::read(config, &mut errors);
        let events = EventsConfig::read(config, &mut errors);
        let outgoing = Outgoing::read(&mut errors);
        let read = pools.zip(policy.map(Arc::new)).zip(audit).zip(outgoing);
        errors.finish(read.map(|(((pools, policy), audit), outgoing)| Self {
            audit,
            events,
            metrics,
            outgoing,
            pools,
            policy,
            shared_cache,
            tls,
        }))
    }

    /// Returns the keys of the shared cache that can be reloaded; none if nothing is shared.
    pub(super) fn value_keys(&self) -> Option<Arc<ValueKeys>> {
        self.shared_cache.as_ref().map(|shared| Arc::clone(&shared.value_keys))
    }
}
