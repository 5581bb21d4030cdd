//! Authenticates a request: from its metadata, its `access_token` field and its connection to a
//! [`Caller`]. `policy` decides what the caller may do.

mod bearer;
mod caller;
mod certificate;
mod claims;
mod json;
mod keys;
mod proxy;
mod rejected;
mod verified;

use std::{collections::HashMap, future::pending, net::IpAddr, sync::Arc, time::SystemTime};

use tonic::metadata::MetadataMap;

use self::{caller::TokenIdentity, claims::Unverified, keys::Keys, verified::VerifiedToken};
pub use self::{
    caller::{Caller, Client, Identity, Scopes, TokenUser},
    certificate::{AlternativeName, Certificate, InvalidName},
    claims::Inspection,
    rejected::{InvalidReason, Rejected},
    verified::VerifiedTokens,
};
use crate::{
    cache::{MAINTENANCE_INTERVAL, maintain},
    outgoing::Outgoing,
    pool::{PoolId, Pools},
    telemetry::metrics::TokenMetrics,
};

/// The credentials of a request. They are secrets, so there is no `Debug`.
#[expect(missing_debug_implementations, reason = "it holds tokens")]
pub struct Credentials<'a> {
    /// The call's metadata, for `authorization`.
    pub metadata: &'a MetadataMap,
    /// The request's `access_token` field; empty if not given.
    pub access_token: &'a str,
    /// The peer of the connection.
    pub peer: &'a Peer,
}

/// The peer of a connection; cheap to clone.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its address.
    pub address: Address,
    /// Its certificate, if it presented one. The handshake has verified it.
    pub certificate: Option<Arc<Certificate>>,
}

/// The address of a peer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Address {
    /// A host on the network.
    Ip(IpAddr),
    /// A process on this machine, over a Unix socket.
    Unix,
}

/// Verifies access tokens against the signing keys of the configured pools.
#[derive(Debug)]
pub struct Authenticator {
    pools: Pools,
    keys: HashMap<PoolId, Arc<Keys>>,
    verified: Arc<VerifiedTokens>,
}

impl Authenticator {
    /// Starts to fetch every pool's keys in the background, and to maintain the cache of `verified`
    /// tokens. Must be called in a Tokio runtime.
    pub fn start(
        pools: &Pools,
        verified: Arc<VerifiedTokens>,
        metrics: &TokenMetrics,
        outgoing: &Outgoing,
    ) -> Self {
        let keys = pools.iter().map(|pool| {
            let keys = Keys::start(pool, metrics.jwks(pool.id.as_str()), outgoing.http_client());
            (pool.id.clone(), Arc::new(keys))
        });
        let keys = keys.collect();
        #[expect(clippy::disallowed_methods, reason = "ends with the tokens")]
        tokio::spawn(maintain(Arc::downgrade(&verified), MAINTENANCE_INTERVAL, VerifiedTokens::maintain));
        Self { keys, pools: pools.clone(), verified }
    }

    /// Waits until the keys of a pool are loaded, without a time limit. An unknown pool has none.
    pub async fn ready(&self, pool: &PoolId) {
        match self.keys.get(pool) {
            Some(keys) => keys.loaded().await,
            None => pending().await,
        }
    }

    /// Returns the caller. A bad credential is refused even if another one is good. Cancel safe.
    /// Waits for the network only if a token names an unknown key id.
    pub async fn authenticate(&self, credentials: Credentials<'_>) -> Result<Caller, Rejected> {
        let bearer = match bearer::in_metadata(credentials.metadata)? {
            Some(token) => Some(self.verify(token).await?),
            None => None,
        };
        let presented = match credentials.access_token {
            "" => None,
            token => {
                let bearer = self.verify(bearer::bounded(token.as_bytes())?).await?;
                Some(bearer.user.ok_or(Rejected::WrongType)?)
            }
        };
        Ok(Caller::new(credentials.peer, credentials.metadata, bearer, presented))
    }

    async fn verify(&self, token: &[u8]) -> Result<TokenIdentity, Rejected> {
        match self.verified.look_up(token) {
            Ok(identity) => Ok(identity),
            // Boxed to keep the future of a hit small.
            Err(pending) => Ok(pending.insert(Box::pin(self.verify_uncached(token)).await?)),
        }
    }

    async fn verify_uncached(&self, token: &[u8]) -> Result<VerifiedToken, Rejected> {
        let unverified = Unverified::read(token)?;
        // Before any fetch: a token must not choose the server that keys come from (RFC 8725,
        // section 3.8).
        let pool = unverified.unverified_issuer().and_then(|issuer| self.pools.by_issuer(issuer));
        let pool = pool.ok_or(Rejected::Invalid(InvalidReason::Issuer))?;
        let keys = self.keys.get(&pool.id).ok_or(Rejected::KeysUnavailable)?;
        let key = keys.key(unverified.unverified_key_id()).await?;
        let (identity, validity) = unverified.verify(&key, pool, SystemTime::now())?;
        Ok(VerifiedToken { identity, validity, key, keys: Arc::clone(keys) })
    }
}

/// Reads a token without verifying it.
pub fn inspect(token: &str) -> Inspection {
    Inspection::of(token.as_bytes())
}
