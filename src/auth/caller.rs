//! Who asks, and the users whose tokens they present.

use std::sync::Arc;

use super::{Address, Certificate, Peer, Scopes};
use crate::{
    pool::{ClientId, Pool},
    user::{Groups, Sub, Username},
};

/// Who asks, and the users whose tokens were presented; made by [`super::Authenticator::authenticate`] only.
#[derive(Clone, Debug)]
pub struct Caller {
    identity: Identity,
    users: [Option<Arc<TokenUser>>; 2],
}

impl Caller {
    /// Makes the caller at the other end of a connection from what its tokens say: of `authorization`, if there is one,
    /// and the user of the one in `access_token`.
    pub(super) fn new(peer: &Peer, bearer: Option<TokenIdentity>, presented: Option<Arc<TokenUser>>) -> Self {
        let (client, forwarded) =
            bearer.map_or((None, None), |TokenIdentity { client, user }| (Some(client), user));
        let identity = match (&peer.certificate, client) {
            (Some(certificate), _) => Identity::Certificate(Arc::clone(certificate)),
            (None, Some(client)) if forwarded.is_some() => Identity::User(client),
            (None, Some(client)) => Identity::Machine(client),
            (None, None) => Identity::Address(peer.address),
        };
        Self { identity, users: [forwarded, presented] }
    }

    /// Returns who asks.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Returns every user a verified access token was presented for: of `authorization`, then of `access_token`.
    pub fn token_users(&self) -> impl Iterator<Item = &TokenUser> {
        self.users.iter().flatten().map(|user| &**user)
    }

    /// Makes a caller that nobody authenticated, to test what comes after.
    #[cfg(test)]
    pub(crate) fn for_test(identity: Identity, users: [Option<TokenUser>; 2]) -> Self {
        Self { identity, users: users.map(|user| user.map(Arc::new)) }
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
    Machine(Arc<Client>),
    /// An app client on behalf of a user: a user's token in `authorization`.
    User(Arc<Client>),
}

/// The bearer of a good token.
#[derive(Clone, Debug)]
pub(super) struct TokenIdentity {
    pub(super) client: Arc<Client>,
    /// None for a client-credentials token, which speaks for a machine.
    pub(super) user: Option<Arc<TokenUser>>,
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
pub struct TokenUser {
    /// The pool that issued the token.
    pub pool: Arc<Pool>,
    /// The user.
    pub sub: Sub,
    /// The pool's name for the user.
    pub username: Username,
    /// The groups that the token says the user is in.
    pub groups: Groups,
}
