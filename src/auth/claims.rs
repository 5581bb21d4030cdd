//! The rules a token must pass, as pure functions: its header, whose it says it is, its signature, its claims.
//! Until the signature is checked, whatever was read is named `unverified`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, crypto};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, IgnoredAny},
};

use super::{Rejected, bearer::BearerToken};
use crate::{
    pool::{ClientId, Pool},
    user::{Sub, Username},
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

    /// Checks the signature and then every claim; the only origin of [`Claimed`].
    pub(super) fn verify(self, key: &DecodingKey, pool: &Pool, now: SystemTime) -> Result<Claimed, Rejected> {
        let good = crypto::verify(self.token.signature, self.token.signed.as_bytes(), key, Algorithm::RS256);
        if !good.unwrap_or_default() {
            return Err(Rejected::Invalid);
        }
        self.claims.check(pool, now)
    }
}

/// What a verified access token says: which app client it was issued to, and for which user, if for one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Claimed {
    pub(super) client: ClientId,
    /// None for a client-credentials token, which speaks for a machine.
    pub(super) user: Option<(Sub, Username)>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: String,
    #[serde(default)]
    typ: Option<Value<String>>,
    #[serde(default)]
    cty: Presence,
    #[serde(default)]
    crit: Presence,
    #[serde(default)]
    b64: Presence,
    #[serde(default)]
    jwk: Presence,
    #[serde(default)]
    jku: Presence,
    #[serde(default)]
    x5u: Presence,
    #[serde(default)]
    x5c: Presence,
    #[serde(default)]
    x5t: Presence,
    #[serde(default, rename = "x5t#S256")]
    x5t_s256: Presence,
}

impl Header {
    fn check(&self) -> Result<(), Rejected> {
        let refused = [self.crit, self.b64, self.jwk, self.jku, self.x5u, self.x5c, self.x5t, self.x5t_s256];
        let type_is_ours = match &self.typ {
            None => true,
            Some(Value::Is(typ)) => TYPES.iter().any(|ours| typ.eq_ignore_ascii_case(ours)),
            Some(Value::IsNot(_)) => false,
        };
        match self.alg.as_str() {
            "RS256" => {}
            other if OTHER_ALGORITHMS.contains(&other) => return Err(Rejected::Invalid),
            _ => return Err(Rejected::Malformed),
        }
        let named = (1..=MAX_KEY_ID_BYTES).contains(&self.kid.len()) && !self.kid.contains(char::is_control);
        if !named || self.cty == Presence::Present {
            Err(Rejected::Malformed)
        } else if refused.contains(&Presence::Present) {
            Err(Rejected::Invalid)
        } else if !type_is_ours {
            Err(Rejected::WrongType)
        } else {
            Ok(())
        }
    }
}

/// Typed, so that a claim given twice is refused; claims that are not listed are ignored.
#[derive(Deserialize)]
struct Claims {
    iss: Option<Value<String>>,
    sub: Option<Value<String>>,
    client_id: Option<Value<String>>,
    token_use: Option<Value<String>>,
    username: Option<Value<String>>,
    exp: Option<Value<u64>>,
    iat: Option<Value<u64>>,
    nbf: Option<Value<u64>>,
}

impl Claims {
    fn check(&self, pool: &Pool, now: SystemTime) -> Result<Claimed, Rejected> {
        if !text(&self.iss).is_some_and(|iss| pool.issuers.iter().any(|own| own == iss)) {
            return Err(Rejected::Invalid);
        }
        match text(&self.token_use) {
            Some("access") => {}
            Some("id") => return Err(Rejected::IdToken),
            _ => return Err(Rejected::WrongType),
        }
        let client =
            text(&self.client_id).and_then(|id| pool.app_clients.get(id)).ok_or(Rejected::Invalid)?;
        self.check_time(now)?;
        let sub = text(&self.sub).ok_or(Rejected::Invalid)?;
        let user = match &self.username {
            None => None,
            Some(_) if sub == client.as_str() => None,
            Some(name) => Some(name.parsed::<Username>()?),
        };
        let sub: Sub = sub.parse().map_err(|_| Rejected::Invalid)?;
        Ok(Claimed { client: client.clone(), user: user.map(|name| (sub, name)) })
    }

    /// RFC 7519, sections 4.1.4 to 4.1.6. Cognito's longest access token lives a day, so one that claims more is not
    /// Cognito's (developer guide, "Understanding the access token").
    fn check_time(&self, now: SystemTime) -> Result<(), Rejected> {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let expires = seconds(&self.exp)?.ok_or(Rejected::Invalid)?;
        let issued = seconds(&self.iat)?;
        let begins = [seconds(&self.nbf)?, issued];
        let begun = issued.map_or(now, |issued| issued.min(now));
        if now >= expires.saturating_add(LEEWAY) {
            Err(Rejected::Expired)
        } else if begins.iter().flatten().any(|begin| *begin > now.saturating_add(LEEWAY)) {
            Err(Rejected::NotYetValid)
        } else if expires > begun.saturating_add(MAX_LIFETIME).saturating_add(LEEWAY) {
            Err(Rejected::Invalid)
        } else {
            Ok(())
        }
    }
}

/// A JSON value of the type a claim must have, or of another: which of the two decides the reason of a refusal.
#[derive(Deserialize)]
#[serde(untagged)]
enum Value<T> {
    Is(T),
    IsNot(IgnoredAny),
}

impl Value<String> {
    fn parsed<T: std::str::FromStr>(&self) -> Result<T, Rejected> {
        match self {
            Self::Is(text) => text.parse().map_err(|_| Rejected::Invalid),
            Self::IsNot(_) => Err(Rejected::Invalid),
        }
    }
}

/// Whether a header parameter is there at all, whatever it holds (`null` too).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Presence {
    #[default]
    Absent,
    Present,
}

impl<'de> Deserialize<'de> for Presence {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self::Present)
    }
}

fn json<T: DeserializeOwned>(part: &str) -> Result<T, Rejected> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| Rejected::Malformed)?;
    // serde would take an array for a struct, field by field.
    if bytes.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
        return Err(Rejected::Malformed);
    }
    serde_json::from_slice(&bytes).map_err(|_| Rejected::Malformed)
}

fn text(claim: &Option<Value<String>>) -> Option<&str> {
    match claim {
        Some(Value::Is(text)) => Some(text),
        _ => None,
    }
}

fn seconds(claim: &Option<Value<u64>>) -> Result<Option<Duration>, Rejected> {
    match claim {
        None => Ok(None),
        Some(Value::Is(seconds)) => Ok(Some(Duration::from_secs(*seconds))),
        Some(Value::IsNot(_)) => Err(Rejected::Malformed),
    }
}

// Cognito sends none; the others are RFC 9068's and RFC 7519's names for an access token.
const TYPES: [&str; 3] = ["JWT", "at+jwt", "application/at+jwt"];
// Real algorithms that we do not take: their tokens are well formed, and still not ours.
const OTHER_ALGORITHMS: [&str; 13] = [
    "HS256", "HS384", "HS512", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512",
    "ES256K", "EdDSA",
];
const MAX_KEY_ID_BYTES: usize = 128;
const LEEWAY: Duration = Duration::from_secs(10);
const MAX_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests;
