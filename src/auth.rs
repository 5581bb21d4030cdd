//! Who asks, and whose token they present: from metadata, a field and the connection to a [`Caller`].
//! What the caller may then do is `policy`'s business.

mod bearer;
mod certificate;
mod claims;
mod keys;

use std::{collections::HashMap, net::IpAddr, sync::Arc, time::SystemTime};

use futures_util::future::join_all;
use thiserror::Error;
use tonic::metadata::MetadataMap;

use self::{
    bearer::BearerToken,
    claims::{Claimed, Unverified},
    keys::{FetcherError, Keys},
};
pub use self::{
    certificate::{AlternativeName, Certificate, InvalidName},
    claims::Scopes,
};
use crate::{
    pool::{ClientId, Pool, PoolId, Pools},
    user::{Groups, Sub, Username},
};

/// What a request brings to say who it comes from: secrets, so it has no `Debug`.
#[expect(missing_debug_implementations, reason = "it holds tokens")]
pub struct Credentials<'a> {
    /// The call's metadata, for `authorization`.
    pub metadata: &'a MetadataMap,
    /// The request's `access_token` field; empty if not given.
    pub access_token: &'a str,
    /// The connection's other end.
    pub peer: Peer,
}

/// The other end of a connection; cheap to clone.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Where it is.
    pub address: Address,
    /// Its certificate, if it presented one, which the handshake has verified.
    pub certificate: Option<Arc<Certificate>>,
}

/// Where the other end of a connection is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Address {
    /// On the network.
    Ip(IpAddr),
    /// A process on this machine, over a Unix socket.
    Unix,
}

/// Verifies what requests present against the keys of the configured pools.
#[derive(Debug)]
pub struct Authenticator {
    pools: Pools,
    keys: HashMap<PoolId, Keys>,
}

impl Authenticator {
    /// Starts to fetch every pool's keys in the background; must be called in a Tokio runtime.
    pub fn start(pools: &Pools) -> Result<Self, StartError> {
        let keys = pools.iter().map(|pool| Ok((pool.id.clone(), Keys::start(pool)?)));
        Ok(Self { pools: pools.clone(), keys: keys.collect::<Result<_, FetcherError>>()? })
    }

    /// Returns when the keys of every pool are loaded, however long that takes.
    pub async fn ready(&self) {
        join_all(self.keys.values().map(Keys::loaded)).await;
    }

    /// Returns who asks, or refuses. A credential that is present and bad is refused, never passed over for the next
    /// kind. Cancel safe; waits for the network only where a token names a key not seen before.
    pub async fn authenticate(&self, credentials: Credentials<'_>) -> Result<Caller, Rejected> {
        let bearer = match BearerToken::from_metadata(credentials.metadata)? {
            Some(token) => Some(self.verify(token).await?),
            None => None,
        };
        let presented = match credentials.access_token {
            "" => None,
            token => Some(self.verify(BearerToken::parse(token)?).await?.person.ok_or(Rejected::WrongType)?),
        };
        let (client, forwarded) =
            bearer.map_or((None, None), |Verified { client, person }| (Some(client), person));
        let Peer { address, certificate } = credentials.peer;
        let identity = match (certificate, client) {
            (Some(certificate), _) => Identity::Certificate(certificate),
            (None, Some(client)) if forwarded.is_some() => Identity::Person(client),
            (None, Some(client)) => Identity::Machine(client),
            (None, None) => Identity::Address(address),
        };
        Ok(Caller { identity, persons: [forwarded, presented] })
    }

    async fn verify(&self, token: BearerToken<'_>) -> Result<Verified, Rejected> {
        let unverified = Unverified::read(token)?;
        // Before any fetch: a token must not choose whom we ask for keys (RFC 8725, section 3.8).
        let pool = unverified.unverified_issuer().and_then(|issuer| self.pools.by_issuer(issuer));
        let pool = pool.ok_or(Rejected::Invalid(Fault::Issuer))?;
        let keys = self.keys.get(&pool.id).ok_or(Rejected::KeysUnavailable)?;
        let key = keys.key(unverified.unverified_key_id()).await?;
        let Claimed { client, scopes, user } = unverified.verify(&key, pool, SystemTime::now())?;
        let person =
            user.map(|(sub, username, groups)| Person { pool: Arc::clone(pool), sub, username, groups });
        Ok(Verified { client: Client { id: client, scopes }, person })
    }
}

/// What a good token says.
struct Verified {
    client: Client,
    /// None for a client-credentials token, which speaks for a machine.
    person: Option<Person>,
}

/// Who asks, and the users whose tokens were presented; made by [`Authenticator::authenticate`] only.
#[derive(Clone, Debug)]
pub struct Caller {
    identity: Identity,
    persons: [Option<Person>; 2],
}

impl Caller {
    /// Returns who asks.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Returns every user a verified access token was presented for: of `authorization`, then of `access_token`.
    pub fn persons(&self) -> impl Iterator<Item = &Person> {
        self.persons.iter().flatten()
    }

    /// Makes a caller that nobody authenticated, to test what comes after.
    #[cfg(test)]
    pub(crate) fn for_test(identity: Identity, persons: [Option<Person>; 2]) -> Self {
        Self { identity, persons }
    }
}

/// Who asks.
#[derive(Clone, Debug)]
pub enum Identity {
    /// Nobody but the other end of the connection.
    Address(Address),
    /// The bearer of a client certificate.
    Certificate(Arc<Certificate>),
    /// An app client by itself: a client-credentials token in `authorization`.
    Machine(Client),
    /// An app client on behalf of a user: a user's token in `authorization`.
    Person(Client),
}

/// The app client that a token was issued to, and what for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Client {
    /// The app client.
    pub id: ClientId,
    /// The scopes of the token.
    pub scopes: Scopes,
}

/// A user whose access token was verified.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Person {
    /// The pool that issued the token.
    pub pool: Arc<Pool>,
    /// The user.
    pub sub: Sub,
    /// The pool's name for the user.
    pub username: Username,
    /// The groups that the token says the user is in.
    pub groups: Groups,
}

/// Why a credential was refused; the text is for the log, callers get a constant.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Rejected {
    /// The token is past its `exp`.
    #[error("the token has expired")]
    Expired,
    /// It is an ID token.
    #[error("an ID token was presented")]
    IdToken,
    /// It is not accepted. Callers are not told what for.
    #[error("the token is not accepted: {0}")]
    Invalid(Fault),
    /// We cannot know: there are no keys to verify with.
    #[error("the pool's signing keys cannot be had")]
    KeysUnavailable,
    /// It is not a compact RS256 JWS of the expected shape.
    #[error("the credential is not one compact RS256 token")]
    Malformed,
    /// `authorization` holds no bearer token.
    #[error("authorization holds no bearer token")]
    Missing,
    /// Its `nbf` or `iat` lies ahead.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// It is no access token, or a machine's where a person's is needed.
    #[error("the token is of the wrong type")]
    WrongType,
}

/// What is wrong with a token that is well formed.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Fault {
    /// Its header asks for another algorithm than RS256.
    #[error("its algorithm is not RS256")]
    Algorithm,
    /// Its `client_id` is not among the pool's `app_clients`.
    #[error("its client_id is not among the pool's app_clients")]
    Client,
    /// Its `cognito:groups` are none: no list of at most 100 names.
    #[error("its cognito:groups are no list of groups")]
    Groups,
    /// Its header asks for something that must be followed or refused.
    #[error("its header has a parameter that is not taken")]
    Header,
    /// Its `iss` is not that of a configured pool.
    #[error("its iss is not that of a configured pool")]
    Issuer,
    /// The pool publishes no key of its `kid`.
    #[error("the pool has no key of its kid")]
    Key,
    /// Its `exp` is missing or too far ahead.
    #[error("its exp is missing or more than a day after its iat")]
    Lifetime,
    /// Its signature is not by that key.
    #[error("its signature is not by the pool's key")]
    Signature,
    /// Its `sub` or `username` is none.
    #[error("its sub or username is none")]
    Subject,
}

/// Why no keys can be fetched at all, whatever the network does.
#[derive(Debug, Error)]
#[error(transparent)]
pub struct StartError(#[from] FetcherError);
