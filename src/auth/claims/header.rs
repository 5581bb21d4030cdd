//! The header of a token: RS256 with a key id, and no parameter that changes the verification.

use serde::{Deserialize, Serialize};

use super::part::{Presence, Typed};
use crate::auth::{InvalidReason, Rejected};

/// A missing `alg` or `kid` reads as an empty one, which is refused.
#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct Header {
    alg: String,
    pub(super) kid: String,
    typ: Option<Typed<String>>,
    cty: Presence,
    crit: Presence,
    b64: Presence,
    jwk: Presence,
    jku: Presence,
    x5u: Presence,
    x5c: Presence,
    x5t: Presence,
    #[serde(rename = "x5t#S256")]
    x5t_s256: Presence,
}

impl Header {
    /// Refuses other algorithms and keys embedded in the token (RFC 8725, sections 3.1 and 3.2),
    /// and critical parameters (RFC 7515, section 4.1.11).
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
// Registered algorithms that are not accepted: their tokens are well formed, and so invalid rather
// than malformed.
const OTHER_ALGORITHMS: [&str; 13] = [
    "HS256", "HS384", "HS512", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512",
    "ES256K", "EdDSA",
];
const MAX_KEY_ID_BYTES: usize = 128;
