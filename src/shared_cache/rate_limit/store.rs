//! The rate limit of one account and Region, in the store.

use std::sync::Arc;

use super::{
    super::{
        call::{Call, CallError, Reply, Transport},
        index::{IndexKey, UserKey},
        namespace::Namespace,
    },
    CallerKey, End, RateLimitKeys, Sync, Synced, Take, Taken, Tune,
};
use crate::{pool::PoolId, user::Sub};

/// The rate limit of one account and Region, in the store. Cheap to clone.
///
/// Every call ends within `shared_cache.timeout`. One that fails may have had its effect. All of them
/// are cancel safe in the same sense.
#[derive(Clone, Debug)]
pub struct SharedRateLimit {
    transport: Arc<dyn Transport>,
    namespace: Namespace,
    index: IndexKey,
    keys: RateLimitKeys,
    replicas_at_most: usize,
}

/// What the replicas must agree on to share a rate limit.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RateLimitSharing {
    /// The most replicas that there will be; at least 1.
    pub replicas_at_most: usize,
}

impl SharedRateLimit {
    pub(in crate::shared_cache) fn new(
        transport: Arc<dyn Transport>,
        namespace: Namespace,
        index: IndexKey,
        sharing: &RateLimitSharing,
        (account, region): (&str, &str),
    ) -> Self {
        let hash = index.hash(&[namespace.as_str(), "rate limit", account, region]);
        let keys = RateLimitKeys::new(format!("{namespace}:b1:{{{hash}}}"));
        Self { transport, namespace, index, keys, replicas_at_most: sharing.replicas_at_most }
    }

    /// Returns the most replicas that there will be; at least 1.
    pub fn replicas_at_most(&self) -> usize {
        self.replicas_at_most
    }

    /// Returns whether calls are made at present: one atomic load.
    pub fn is_available(&self) -> bool {
        self.transport.is_available()
    }

    /// Returns the key of a user.
    pub fn user(&self, pool: &PoolId, sub: &Sub) -> UserKey {
        self.index.user(&self.namespace, pool, sub)
    }

    /// Returns the key of a caller, by its number, which is the same in all replicas.
    pub fn caller(&self, number: usize) -> CallerKey {
        let number = number.to_string();
        CallerKey::new(self.index.hash(&[self.namespace.as_str(), "caller", &number]))
    }

    /// Learns the epoch, and reads the server's clock.
    pub async fn sync(&self, sync: &Sync<'_>) -> Result<Synced, CallError> {
        Synced::parse(self.call(sync.call(&self.keys)).await?)
    }

    /// Asks for a call to Cognito.
    pub async fn take(&self, take: &Take<'_>) -> Result<Taken, CallError> {
        Taken::parse(self.call(take.call(&self.keys)).await?)
    }

    /// Ends a call to Cognito.
    pub async fn end(&self, end: &End<'_>) -> Result<(), CallError> {
        self.call(end.call(&self.keys)).await.map(drop)
    }

    /// Tells all replicas what this one has learned from Cognito.
    pub async fn tune(&self, tune: &Tune<'_>) -> Result<(), CallError> {
        self.call(tune.call(&self.keys)).await.map(drop)
    }

    async fn call(&self, call: Call) -> Result<Reply, CallError> {
        self.transport.call(call).await
    }
}
