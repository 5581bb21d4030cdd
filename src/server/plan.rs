//! The settings as the parts they describe, every fault in them found at once.

use tracing::warn;

use crate::{
    config::{Config, Faults},
    policy::Policy,
    pool::Pools,
};

/// What the server is to be, valid in every part.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) pools: Pools,
    pub(super) policy: Policy,
}

impl Plan {
    /// Reads the settings, or says all that is wrong with them.
    pub(super) fn read(config: &Config) -> Result<Self, Faults> {
        let mut faults = Faults::collector(config);
        let pools = Pools::read(config, &mut faults);
        let policy = Policy::read(config, pools.as_ref(), &mut faults);
        faults.finish(pools.zip(policy).map(|(pools, policy)| Self { pools, policy }))
    }

    /// Tells an operator what is allowed and unusual.
    pub(super) fn warn(&self) {
        for pool in self.pools.iter() {
            for url in pool.unusual_urls() {
                warn!(pool.id = %pool.id, url, "a pool is asked at an address that is not AWS's own over HTTPS");
            }
        }
        for caller in self.policy.open_networks() {
            warn!(caller.name = caller, "a caller beyond this machine is let in without a credential");
        }
    }
}
