//! The rules a token must pass, as pure functions: its header, whose it says it is, its signature, its claims.
//! Until the signature is checked, whatever was read is named `unverified`.

mod header;
mod part;
mod validity;

use std::{str::FromStr, sync::Arc, time::SystemTime};

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

/// A token that was read but not verified: its parts may be used to choose a pool and a key, and for nothing else.
pub(super) struct Unverified<'a> {
    token: BearerToken<'a>,
    header: Header,
    claims: Claims,
}

impl<'a> Unverified<'a> {
    /// Reads a token whose header asks for nothing but RS256 with a named key (RFC 8725, sections 3.1 and 3.2).
    pub(super) fn read(token: BearerToken<'a>) -> Result<Self, Rejected> {
        let header: Header = json(token.header)?;
        header.check()?;
        // Here too, so that what no key could make good costs no fetch of keys.
        URL_SAFE_NO_PAD.decode(token.signature).map_err(|_| Rejected::Malformed)?;
        Ok(Self { token, header, claims: json(token.payload)? })
    }

    /// Returns the issuer the token names, if it names one.
    pub(super) fn unverified_issuer(&self) -> Option<&str> {
        text(&self.claims.iss)
    }

    /// Returns the name of the key the token says it was signed with.
    pub(super) fn unverified_key_id(&self) -> &str {
        &self.header.kid
    }

    /// Checks the signature and then every claim; the only origin of [`VerifiedClaims`].
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

/// What a verified access token says: which app client it was issued to, and for which user, if for one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct VerifiedClaims {
    pub(super) client: ClientId,
    pub(super) scopes: Scopes,
    /// None for a client-credentials token, which speaks for a machine.
    pub(super) user: Option<(Sub, Username, Groups)>,
    pub(super) validity: Validity,
}

/// What a token was issued for (RFC 6749, section 3.3); none where it does not say;
/// cheap to clone.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Scopes(Arc<str>);

impl Scopes {
    /// Returns true if and only if `scope` is one of them, byte for byte.
    pub fn has(&self, scope: &str) -> bool {
        self.0.split(' ').any(|own| own == scope)
    }

    /// Returns all of them, as the token spells them.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Scopes {
    fn from(scopes: &str) -> Self {
        Self(scopes.into())
    }
}

/// Typed, so that a claim given twice is refused; claims that are not listed are ignored.
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
        let sub: Sub = subject(&self.sub)?;
        let machine = self.username.is_none() || sub.as_str() == client.as_str();
        let user = if machine { None } else { Some((sub, subject(&self.username)?, groups(&self.groups)?)) };
        let scopes = text(&self.scope).unwrap_or_default().into();
        Ok(VerifiedClaims { client: client.clone(), scopes, user, validity })
    }
}

fn text(claim: &Option<Typed<String>>) -> Option<&str> {
    match claim {
        Some(Typed::Expected(text)) => Some(text),
        _ => None,
    }
}

fn subject<T: FromStr>(claim: &Option<Typed<String>>) -> Result<T, Rejected> {
    let parsed = text(claim).and_then(|text| text.parse().ok());
    parsed.ok_or(Rejected::Invalid(InvalidReason::Subject))
}

/// Absent, they are none. Ones that cannot be read are refused, not taken for none: who is shown that a user is in no
/// group may let that user do what a group forbids.
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
