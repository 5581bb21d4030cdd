//! The header of a token: RS256 with a named key, and nothing else that we would have to follow.

use serde::Deserialize;

use super::part::{Presence, Typed};
use crate::auth::{InvalidReason, Rejected};

#[derive(Deserialize)]
pub(super) struct Header {
    alg: String,
    pub(super) kid: String,
    #[serde(default)]
    typ: Option<Typed<String>>,
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
    /// Refuses what RFC 8725, sections 3.1 and 3.2, and RFC 7515, section 4.1.11, tell us not to follow.
    pub(super) fn check(&self) -> Result<(), Rejected> {
        let refused = [self.crit, self.b64, self.jwk, self.jku, self.x5u, self.x5c, self.x5t, self.x5t_s256];
        let type_is_ours = match &self.typ {
            None => true,
            Some(Typed::Expected(typ)) => TYPES.iter().any(|ours| typ.eq_ignore_ascii_case(ours)),
            Some(Typed::Other(_)) => false,
        };
        match self.alg.as_str() {
            "RS256" => {}
            other if OTHER_ALGORITHMS.contains(&other) => {
                return Err(Rejected::Invalid(InvalidReason::Algorithm));
            }
            _ => return Err(Rejected::Malformed),
        }
        let named = (1..=MAX_KEY_ID_BYTES).contains(&self.kid.len()) && !self.kid.contains(char::is_control);
        if !named || self.cty == Presence::Present {
            Err(Rejected::Malformed)
        } else if refused.contains(&Presence::Present) {
            Err(Rejected::Invalid(InvalidReason::Header))
        } else if !type_is_ours {
            Err(Rejected::WrongType)
        } else {
            Ok(())
        }
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
