//! Builds the components of the server from the settings, and reports all errors at once.

use std::sync::Arc;

use tracing::warn;

use super::tls::Tls;
use crate::{
    audit::Audit,
    config::{Config, ConfigErrors, ErrorCollector, ListenAddress},
    outgoing::Outgoing,
    policy::{Policy, Risk},
    pool::Pools,
    telemetry::metrics::Metrics,
};

/// The components of a server, all of them valid.
#[derive(Debug)]
pub(super) struct Components {
    pub(super) audit: Audit,
    pub(super) metrics: Metrics,
    pub(super) outgoing: Outgoing,
    pub(super) pools: Pools,
    pub(super) policy: Arc<Policy>,
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
        let outgoing = Outgoing::read(&mut errors);
        let read = pools.zip(policy.map(Arc::new)).zip(audit).zip(outgoing);
        errors.finish(read.map(|(((pools, policy), audit), outgoing)| Self {
            audit,
            metrics,
            outgoing,
            pools,
            policy,
            tls,
        }))
    }

    /// Logs a warning for each setting that is valid but risky.
    pub(super) fn warn(&self, config: &Config) {
        self.outgoing.log();
        for pool in self.pools.iter() {
            for url in pool.unusual_urls() {
                warn!(pool.id = %pool.id, url, "the endpoint of a pool is not AWS's own over HTTPS");
            }
        }
        let is_remote = matches!(config.listen, ListenAddress::Tcp(at) if !at.ip().is_loopback());
        if is_remote && self.tls.is_none() {
            warn!(
                "without tls.certificate, tokens and attributes are sent in cleartext unless a mesh encrypts them"
            );
        }
        if config.shutdown.grace < config.limits.request_timeout {
            warn!(
                "shutdown.grace is shorter than limits.request_timeout, so a stop may cut calls in progress"
            );
        }
        self.audit.warn();
        for (caller, risk) in self.policy.risks() {
            // No caller of a Unix socket has an address on loopback.
            if risk != Risk::Loopback || matches!(config.listen, ListenAddress::Tcp(_)) {
                warn!(caller.name = caller, "{risk}");
            }
        }
    }
}
