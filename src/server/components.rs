//! The settings as the parts they describe, every fault in them found at once.

use std::sync::Arc;

use tracing::warn;

use super::tls::Tls;
use crate::{
    audit::Audit,
    config::{Config, ConfigErrors, ErrorCollector, ListenAddress},
    policy::Policy,
    pool::Pools,
    telemetry::metrics::Metrics,
};

/// What the server is to be, valid in every part.
#[derive(Debug)]
pub(super) struct Components {
    pub(super) audit: Audit,
    pub(super) metrics: Metrics,
    pub(super) pools: Pools,
    pub(super) policy: Arc<Policy>,
    pub(super) tls: Option<Arc<Tls>>,
    /// Whether somebody beyond this machine can connect, and would do so in the clear.
    is_cleartext: bool,
    /// Whether a call may take longer than a stop waits for it.
    has_short_grace: bool,
}

impl Components {
    /// Reads the settings, or says all that is wrong with them.
    pub(super) fn read(config: &Config) -> Result<Self, ConfigErrors> {
        let mut errors = ErrorCollector::new(config);
        let pools = Pools::read(config, &mut errors);
        let policy = Policy::read(config, pools.as_ref(), &mut errors);
        let metrics = Metrics::new();
        metrics.callers.set_names(config.callers.iter().map(|caller| &*caller.name));
        let tls = Tls::read(config, &metrics, &mut errors).map(Arc::new);
        let audit = Audit::read(config, pools.as_ref(), &metrics, &mut errors);
        let is_cleartext =
            tls.is_none() && matches!(config.listen, ListenAddress::Tcp(at) if !at.ip().is_loopback());
        let has_short_grace = config.shutdown.grace < config.limits.request_timeout;
        let read = pools.zip(policy).zip(audit);
        errors.finish(read.map(|((pools, policy), audit)| Self {
            audit,
            metrics,
            pools,
            policy: Arc::new(policy),
            tls,
            is_cleartext,
            has_short_grace,
        }))
    }

    /// Tells an operator what is allowed and unusual.
    pub(super) fn warn(&self) {
        for pool in self.pools.iter() {
            for url in pool.unusual_urls() {
                warn!(pool.id = %pool.id, url, "a pool is asked at an address that is not AWS's own over HTTPS");
            }
        }
        if self.is_cleartext {
            warn!(
                "without tls.certificate tokens and attributes travel in the clear, unless a mesh encrypts them"
            );
        }
        if self.has_short_grace {
            warn!(
                "shutdown.grace is less than limits.request_timeout, so that a stop may cut calls under way"
            );
        }
        self.audit.warn();
        for caller in self.policy.callers_on_remote_networks() {
            warn!(caller.name = caller, "a caller beyond this machine is let in without a credential");
        }
    }
}
