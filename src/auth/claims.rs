//! The checks of a token, as pure functions: header, issuer, signature, claims. Data read before
//! the signature is checked is named `unverified`.

mod header;
mod part;
mod validity;

use std::{sync::Arc, time::SystemTime};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, crypto};
use serde::Deserialize;

pub(super) use self::validity::Validity;
use self::{
    header::Header,
    part::{Typed, json},
};
use super::{InvalidReason, Rejected, bearer::BearerToken, keys::Key};
use crate::{
    pool::{ClientId, Pool},
    user::{Groups, Sub, Username},
};

/// A token that was read but not verified. Its parts may be used only to choose a pool and a key.
pub(super) struct Unverified<'a> {
    token: BearerToken<'a>,
    header: Header,
    claims: Claims,
}

impl<'a> Unverified<'a> {
    /// Reads a token. Its header must name RS256 and a key id (RFC 8725, sections 3.1 and 3.2).
    pub(super) fn read(token: BearerToken<'a>) -> Result<Self, Rejected> {
        let header: Header = json(token.header)?;
        header.check()?;
        // Checked before the keys are needed: a token that no key can verify must not cause a
        // fetch.
        URL_SAFE_NO_PAD.decode(token.signature).map_err(|_| Rejected::Malformed)?;
        Ok(Self { token, header, claims: json(token.payload)? })
    }

    /// Returns the `iss` claim, if there is one.
    pub(super) fn unverified_issuer(&self) -> Option<&str> {
        text(&self.claims.iss)
    }

    /// Returns the id of the key that the token claims to be signed with.
    pub(super) fn unverified_key_id(&self) -> &str {
        &self.header.kid
    }

    /// Checks the signature and then every claim. Only this makes [`VerifiedClaims`].
    pub(super) fn verify(self, key: &Key, pool: &Pool, now: SystemTime) -> Result<VerifiedClaims, Rejected> {
        let good = crypto::verify(
            self.token.signature,
            self.token.signed.as_bytes(),
            &key.verifier,
            Algorithm::RS256,
        );
        if !good.unwrap_or_default() {
            return Err(Rejected::Invalid(InvalidReason::Signature));
        }
        self.claims.check(pool, now)
    }
}

/// The claims of a verified access token.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct VerifiedClaims {
    pub(super) client: ClientId,
    pub(super) scopes: Scopes,
    /// None for a client-credentials token.
    pub(super) user: Option<(Sub, Username, Groups)>,
    pub(super) validity: Validity,
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

/// The claims that are read. Serde refuses one that is given twice; other claims are ignored.
#[derive(Deserialize)]
struct Claims {
    iss: Option<Typed<String>>,
    sub: Option<Typed<String>>,
    client_id: Option<Typed<String>>,
    token_use: Option<Typed<String>>,
    username: Option<Typed<String>>,
    exp: Option<Typed<u64>>,
    iat: Option<Typed<u64>>,
    nbf: Option<Typed<u64>>,
    scope: Option<Typed<String>>,
    #[serde(rename = "cognito:groups")]
    groups: Option<Typed<Vec<String>>>,
}

impl Claims {
    fn check(&self, pool: &Pool, now: SystemTime) -> Result<VerifiedClaims, Rejected> {
        if !text(&self.iss).is_some_and(|iss| pool.issuers.iter().any(|own| own == iss)) {
            return Err(Rejected::Invalid(InvalidReason::Issuer));
        }
        match text(&self.token_use) {
            Some("access") => {}
            Some("id") => return Err(Rejected::IdToken),
            _ => return Err(Rejected::WrongType),
        }
        let client = text(&self.client_id)
            .and_then(|id| pool.app_clients.get(id))
            .ok_or(Rejected::Invalid(InvalidReason::Client))?;
        let validity = Validity::of(self)?;
        validity.check(now)?;
        let sub: Option<Sub> = text(&self.sub).and_then(|sub| sub.parse().ok());
        let sub = sub.ok_or(Rejected::Invalid(InvalidReason::Subject))?;
        let machine = self.username.is_none() || sub.as_str() == client.as_str();
        let user = if machine { None } else { Some(self.user(sub)?) };
        let scopes = text(&self.scope).unwrap_or_default().into();
        Ok(VerifiedClaims { client: client.clone(), scopes, user, validity })
    }

    fn user(&self, sub: Sub) -> Result<(Sub, Username, Groups), Rejected> {
        let username = text(&self.username).and_then(|name| Username::of(name, &sub).ok());
        Ok((sub, username.ok_or(Rejected::Invalid(InvalidReason::Subject))?, groups(&self.groups)?))
    }
}

fn text(claim: &Option<Typed<String>>) -> Option<&str> {
    match claim {
        Some(Typed::Expected(text)) => Some(text),
        _ => None,
    }
}

/// A missing claim means no groups. A malformed one is refused, because a backend may use a group
/// to deny access.
fn groups(claim: &Option<Typed<Vec<String>>>) -> Result<Groups, Rejected> {
    match claim {
        None => Ok(Groups::default()),
        Some(Typed::Expected(names)) => {
            Groups::try_from(names.clone()).map_err(|_| Rejected::Invalid(InvalidReason::Groups))
        }
        Some(Typed::Other(_)) => Err(Rejected::Invalid(InvalidReason::Groups)),
    }
}

#[cfg(test)]
mod tests;
