//! Decodes one part of a token, and refuses ambiguous encodings.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeOwned, IgnoredAny},
};
use serde_json::Value;

use crate::auth::{Rejected, json};

/// A claim of the expected type or of another, which is refused with another reason than a missing
/// claim.
#[derive(Deserialize, Serialize)]
#[serde(untagged)]
pub(super) enum Typed<T> {
    Expected(T),
    Other(Value),
}

/// Whether a header parameter is present, with any value (`null` too).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize)]
pub(super) enum Presence {
    #[default]
    Absent,
    Present,
}

impl<'de> Deserialize<'de> for Presence {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self::Present)
    }
}

/// Decodes canonical base64url without padding (RFC 7515, section 2) and the JSON object in it.
pub(super) fn json<T: DeserializeOwned>(part: &str) -> Result<T, Rejected> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| Rejected::Malformed)?;
    json::object(&bytes).ok_or(Rejected::Malformed)
}
