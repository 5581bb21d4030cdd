//! The checks of a token, as pure functions: header, issuer, signature, claims. Data read before
//! the signature is checked is named `unverified`.

mod header;
mod part;
mod validity;

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, crypto};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

pub(super) use self::validity::Validity;
use self::{
    header::Header,
    part::{Typed, json},
};
use super::{
    InvalidReason, Rejected, TokenFamily,
    bearer::{BearerToken, bounded},
    caller::{Client, TokenIdentity, TokenUser},
    keys::Key,
};
use crate::{
    pool::Pool,
    user::{Groups, Sub, Username},
};

/// A token that was read but not verified. Its parts may be used only to choose a pool and a key.
pub(super) struct Unverified<'a> {
    token: BearerToken<'a>,
    header: Header,
    claims: Claims,
}

/// What a token says, read as the verifier reads it, and not verified.
#[expect(missing_debug_implementations, reason = "it is personal")]
pub struct Inspection {
    /// The header parameters that the verifier reads; null if the header cannot be read.
    pub header: Value,
    /// The claims that the verifier reads; null if the payload cannot be read.
    pub claims: Value,
    /// Whether it is one compact RS256 token without header parameters that change how it is
    /// verified.
    pub form: Result<(), Rejected>,
}

impl Inspection {
    pub(super) fn of(token: &[u8]) -> Self {
        fn shown<T: DeserializeOwned + Serialize>(part: Option<&str>) -> Value {
            let read = part.and_then(|part| json::<T>(part).ok());
            serde_json::to_value(read).unwrap_or_default()
        }
        let parts = bounded(token).and_then(BearerToken::parse).ok();
        Self {
            header: shown::<Header>(parts.map(|parts| parts.header)),
            claims: shown::<Claims>(parts.map(|parts| parts.payload)),
            form: bounded(token).and_then(Unverified::read).map(drop),
        }
    }
}

impl<'a> Unverified<'a> {
    /// Reads a token. Its header must name RS256 and a key id (RFC 8725, sections 3.1 and 3.2).
    pub(super) fn read(token: &'a [u8]) -> Result<Self, Rejected> {
        let token = BearerToken::parse(token)?;
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

    /// Checks the signature and then every claim. Returns what the token identifies, and when.
    /// A user's token may be valid for `token_lifetime`.
    pub(super) fn verify(
        self,
        key: &Key,
        pool: &Arc<Pool>,
        token_lifetime: Duration,
        now: SystemTime,
    ) -> Result<(TokenIdentity, Validity), Rejected> {
        let good = crypto::verify(
            self.token.signature,
            self.token.signed.as_bytes(),
            &key.verifier,
            Algorithm::RS256,
        );
        if !good.unwrap_or_default() {
            return Err(Rejected::Invalid(InvalidReason::Signature));
        }
        self.claims.check(pool, token_lifetime, now)
    }
}

/// The claims that are read. Other claims are ignored.
#[derive(Deserialize, Serialize)]
struct Claims {
    iss: Option<Typed<String>>,
    sub: Option<Typed<String>>,
    client_id: Option<Typed<String>>,
    token_use: Option<Typed<String>>,
    username: Option<Typed<String>>,
    exp: Option<Typed<f64>>,
    iat: Option<Typed<f64>>,
    nbf: Option<Typed<f64>>,
    scope: Option<Typed<String>>,
    origin_jti: Option<Typed<String>>,
    #[serde(rename = "cognito:groups")]
    groups: Option<Typed<Vec<String>>>,
}

impl Claims {
    fn check(
        &self,
        pool: &Arc<Pool>,
        token_lifetime: Duration,
        now: SystemTime,
    ) -> Result<(TokenIdentity, Validity), Rejected> {
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
        let user = if machine {
            None
        } else {
            validity.check_lifetime(token_lifetime)?;
            Some(Arc::new(self.user(pool, sub, &validity)?))
        };
        let scopes = text(&self.scope).unwrap_or_default().into();
        let client = Arc::new(Client { id: client.clone(), scopes });
        Ok((TokenIdentity { client, user }, validity))
    }

    fn user(&self, pool: &Arc<Pool>, sub: Sub, validity: &Validity) -> Result<TokenUser, Rejected> {
        let username = text(&self.username).and_then(|name| Username::of(name, &sub).ok());
        let username = username.ok_or(Rejected::Invalid(InvalidReason::Subject))?;
        let family = text(&self.origin_jti).map(TokenFamily::of);
        let (pool, groups) = (Arc::clone(pool), groups(&self.groups));
        // A user's token without `iat` was refused.
        let issued_at = UNIX_EPOCH.checked_add(validity.issued_at().unwrap_or_default());
        let issued_at = issued_at.unwrap_or(UNIX_EPOCH);
        Ok(TokenUser { pool, sub, username, groups, issued_at, family })
    }
}

fn text(claim: &Option<Typed<String>>) -> Option<&str> {
    match claim {
        Some(Typed::Expected(text)) => Some(text),
        _ => None,
    }
}

/// A missing claim means no groups. One that is not a list of group names, which a
/// pre-token-generation trigger can make, means nothing, and the token stays valid.
fn groups(claim: &Option<Typed<Vec<String>>>) -> Option<Groups> {
    match claim {
        None => Some(Groups::default()),
        Some(Typed::Expected(names)) => Groups::try_from(names.clone()).ok(),
        Some(Typed::Other(_)) => None,
    }
}

#[cfg(any(test, feature = "fuzzing"))]
pub(super) mod fuzzing;
#[cfg(test)]
mod tests;
