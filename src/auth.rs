//! Authenticates a request: from its metadata, its `access_token` field and its connection to a
//! [`Caller`]. `policy` decides what the caller may do.

mod bearer;
mod caller;
mod certificate;
mod claims;
mod json;
mod keys;
mod lease;
mod principal;
mod proxy;
mod rejected;
mod revocations;
mod user_token;
mod verified;

use std::{collections::HashMap, future::pending, net::IpAddr, sync::Arc, time::SystemTime};

use tonic::metadata::MetadataMap;

use self::{
    caller::TokenIdentity, claims::Unverified, keys::Keys, revocations::CheckedVersion,
    verified::VerifiedToken,
};
pub use self::{
    caller::{Caller, Client, Identity, Scopes, TokenUser},
    certificate::{AlternativeName, Certificate, InvalidName},
    claims::Inspection,
    lease::CredentialLease,
    principal::Principal,
    rejected::{InvalidReason, Rejected},
    revocations::{OnlineChecking, Revocation, Revocations, RevokedTokens, TokenFamily},
    user_token::UserToken,
    verified::VerifiedTokens,
};
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use self::{claims::fuzzing::token, keys::key_set, verified::fuzzing::verified_tokens};
use crate::{
    cache::{MAINTENANCE_INTERVAL, maintain},
    outgoing::Outgoing,
    pool::{PoolId, Pools},
    telemetry::metrics::TokenMetrics,
};

/// The credentials of a request. They are secrets, so there is no `Debug`.
#[expect(missing_debug_implementations, reason = "it holds tokens")]
#[derive(Clone, Copy)]
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
    metrics: TokenMetrics,
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
            // All series are there from the start.
            drop(metrics.revoked(pool.id.as_str()));
            let keys = Keys::start(pool, metrics.jwks(pool.id.as_str()), outgoing.http_client(), None);
            (pool.id.clone(), Arc::new(keys))
        });
        let keys = keys.collect();
        #[expect(clippy::disallowed_methods, reason = "ends with the tokens")]
        tokio::spawn(maintain(Arc::downgrade(&verified), MAINTENANCE_INTERVAL, VerifiedTokens::maintain));
        Self { keys, pools: pools.clone(), verified, metrics: metrics.clone() }
    }

    /// Returns an authenticator of other pools, with the same cache of verified tokens. A pool that both
    /// have keeps its keys and its tokens; one that was changed keeps its keys only. Must be called in a
    /// Tokio runtime. Once the other one is in use, [`Self::retire`] this one.
    #[must_use]
    pub fn with_pools(&self, pools: &Pools, outgoing: &Outgoing) -> Self {
        let keys = pools.iter().map(|pool| {
            drop(self.metrics.revoked(pool.id.as_str()));
            let old = self.pools.by_id(&pool.id).zip(self.keys.get(&pool.id));
            if let Some((old, keys)) = old.filter(|(old, _)| Arc::ptr_eq(old, pool)) {
                return (old.id.clone(), Arc::clone(keys));
            }
            let previous = old.filter(|(old, _)| old.jwks_url == pool.jwks_url).map(|(_, keys)| &**keys);
            let metrics = self.metrics.jwks(pool.id.as_str());
            (pool.id.clone(), Arc::new(Keys::start(pool, metrics, outgoing.http_client(), previous)))
        });
        let keys = keys.collect();
        Self {
            keys,
            pools: pools.clone(),
            verified: Arc::clone(&self.verified),
            metrics: self.metrics.clone(),
        }
    }

    /// Refuses, from now on, the tokens of the pools that the authenticator in use has not kept.
    pub fn retire(&self, in_use: &Self) {
        for (id, keys) in &self.keys {
            if !in_use.keys.get(id).is_some_and(|kept| Arc::ptr_eq(kept, keys)) {
                keys.retire();
            }
        }
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

    /// Returns the user of an access token, which may be revoked: revoking it again is no error.
    /// Cancel safe. Waits for the network only if the token names an unknown key id.
    pub async fn token_user(&self, access_token: &str) -> Result<Arc<TokenUser>, Rejected> {
        let token = self.verify_ignoring_revocations(bearer::bounded(access_token.as_bytes())?).await?;
        token.identity.user.clone().ok_or(Rejected::WrongType)
    }

    /// Returns the users' tokens among credentials that were authenticated. One that was not cached, because
    /// a user was invalidated meanwhile, is verified once more. Cancel safe.
    pub async fn user_tokens<'a>(
        &self,
        credentials: Credentials<'a>,
    ) -> Result<Vec<UserToken<'a>>, Rejected> {
        let bearer = bearer::in_metadata(credentials.metadata).ok().flatten();
        let presented = Some(credentials.access_token.as_bytes()).filter(|token| !token.is_empty());
        let mut tokens = Vec::new();
        for token in bearer.into_iter().chain(presented) {
            let verified = match self.verified.peek(token) {
                Some(verified) => verified,
                None => Arc::new(self.verify_uncached(token).await?),
            };
            tokens.extend(UserToken::of(token, &verified));
        }
        Ok(tokens)
    }

    async fn verify(&self, token: &[u8]) -> Result<TokenIdentity, Rejected> {
        let token = self.verify_ignoring_revocations(token).await?;
        if self.verified.is_revoked(&token) {
            if let Some(user) = &token.identity.user {
                self.metrics.revoked(user.pool.id.as_str()).inc();
            }
            return Err(Rejected::Revoked);
        }
        Ok(token.identity.clone())
    }

    /// Verifies a token that may be revoked.
    async fn verify_ignoring_revocations(&self, token: &[u8]) -> Result<Arc<VerifiedToken>, Rejected> {
        match self.verified.look_up(token) {
            Ok(verified) => Ok(verified),
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
        let token_lifetime = self.verified.revocations().token_lifetime();
        let (identity, validity) = unverified.verify(&key, pool, token_lifetime, SystemTime::now())?;
        let (keys, checked) = (Arc::clone(keys), CheckedVersion::default());
        Ok(VerifiedToken { identity, validity, key, keys, checked })
    }
}

/// Reads a token without verifying it.
pub fn inspect(token: &str) -> Inspection {
    Inspection::of(token.as_bytes())
}
