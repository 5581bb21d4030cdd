//! The shared cache as configured, and validated.

use std::sync::Arc;

use super::{
    index::IndexKey, keys::ValueKeys, namespace::Namespace, rate_limit::RateLimitSharing, seal::Sealer,
    target::Target,
};

/// The shared cache as configured, and validated. Nothing is connected yet.
#[derive(Debug)]
pub struct SharedCacheConfig {
    /// Where the store is and how to connect to it.
    pub target: Target,
    /// The first part of every key in the store.
    pub namespace: Namespace,
    /// The key that hashes users into keys of the store.
    pub index_key: IndexKey,
    /// The keys that seal values and events.
    pub value_keys: Arc<ValueKeys>,
    /// None if each replica has a rate limit of its own.
    pub rate_limit: Option<RateLimitSharing>,
    /// What is valid but unwise: a setting's key, and why.
    pub(super) warnings: Vec<(String, String)>,
}

impl SharedCacheConfig {
    /// Returns what is valid but unwise: a setting's key, and why.
    pub fn warnings(&self) -> &[(String, String)] {
        &self.warnings
    }

    /// Returns what seals with these keys, also once they are reloaded.
    pub fn sealer(&self) -> Sealer {
        Sealer::new(self.namespace.clone(), Arc::clone(&self.value_keys))
    }
}
