//! The caller, and the users whose tokens it presents.

use std::{sync::Arc, time::SystemTime};

use tonic::metadata::MetadataMap;

use super::{Address, Certificate, Peer, TokenFamily, proxy};
use crate::{
    pool::{ClientId, Pool},
    user::{Groups, Sub, Username},
};

/// An authenticated caller, and the users whose tokens it presented. Only
/// [`super::Authenticator::authenticate`] makes one.
#[derive(Clone, Debug)]
pub struct Caller {
    identity: Identity,
    users: [Option<Arc<TokenUser>>; 2],
}

impl Caller {
    /// Makes the caller of a call from the token in `authorization` and the user of the token in
    /// `access_token`.
    pub(super) fn new(
        peer: &Peer,
        metadata: &MetadataMap,
        bearer: Option<TokenIdentity>,
        presented: Option<Arc<TokenUser>>,
    ) -> Self {
        let (client, forwarded) = bearer.map(|bearer| (bearer.client, bearer.user)).unzip();
        let forwarded = forwarded.flatten();
        let identity = match (&peer.certificate, client) {
            (Some(certificate), _) => Identity::Certificate(Arc::clone(certificate)),
            (None, Some(client)) if forwarded.is_some() => Identity::User(client),
            (None, Some(client)) => Identity::Machine(client),
            (None, None) => {
                Identity::Address { address: peer.address, is_proxied: proxy::has_marks(metadata) }
            }
        };
        Self { identity, users: [forwarded, presented] }
    }

    /// Returns the identity of the caller.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Returns the users of the verified access tokens: of `authorization`, then of `access_token`.
    pub fn token_users(&self) -> impl Iterator<Item = &TokenUser> {
        self.users.iter().flatten().map(|user| &**user)
    }

    /// Makes a caller without authentication, for the tests of other modules.
    #[cfg(test)]
    pub(crate) fn for_test(identity: Identity, users: [Option<TokenUser>; 2]) -> Self {
        Self { identity, users: users.map(|user| user.map(Arc::new)) }
    }
}

/// What identifies a caller.
#[derive(Clone, Debug)]
pub enum Identity {
    /// Its network address, without a credential.
    Address {
        /// The address of the connection, which may be that of a proxy.
        address: Address,
        /// Whether the call carries the marks of a proxy.
        is_proxied: bool,
    },
    /// A client certificate.
    Certificate(Arc<Certificate>),
    /// An app client itself, by a client-credentials token in `authorization`.
    Machine(Arc<Client>),
    /// An app client on behalf of a user, by the user's token in `authorization`.
    User(Arc<Client>),
}

/// What a verified token identifies.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct TokenIdentity {
    pub(super) client: Arc<Client>,
    /// None for a client-credentials token.
    pub(super) user: Option<Arc<TokenUser>>,
}

/// The app client that a token was issued to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Client {
    /// The app client.
    pub id: ClientId,
    /// The scopes of the token.
    pub scopes: Scopes,
}

/// The scopes of a token (RFC 6749, section 3.3); cheap to clone.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Scopes(Arc<str>);

impl Scopes {
    /// Returns whether `scope` is one of them, byte for byte.
    pub fn has(&self, scope: &str) -> bool {
        self.0.split(' ').any(|own| own == scope)
    }

    /// Returns the `scope` claim.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Scopes {
    fn from(scopes: &str) -> Self {
        Self(scopes.into())
    }
}

/// A user whose access token was verified.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TokenUser {
    /// The pool that issued the token.
    pub pool: Arc<Pool>,
    /// The user.
    pub sub: Sub,
    /// The pool's name for the user.
    pub username: Username,
    /// The groups of the user when the token was issued (`cognito:groups`). None if the claim cannot
    /// be read: it then says nothing about the groups.
    pub groups: Option<Groups>,
    /// When the token was issued.
    pub issued_at: SystemTime,
    /// The family of the token. None without `origin_jti`, which Cognito writes only for app clients
    /// with token revocation enabled.
    pub family: Option<TokenFamily>,
}
