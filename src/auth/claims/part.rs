//! Decodes one part of a token, and refuses ambiguous encodings.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, IgnoredAny},
};

use crate::auth::Rejected;

/// A claim of the expected type or of another, which is refused with another reason than a missing
/// claim.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Typed<T> {
    Expected(T),
    Other(IgnoredAny),
}

/// Whether a header parameter is present, with any value (`null` too).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
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

/// Decodes canonical base64url without padding (RFC 7515, section 2) and the JSON object in it. A
/// field of `T` that is given twice is refused.
pub(super) fn json<T: DeserializeOwned>(part: &str) -> Result<T, Rejected> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| Rejected::Malformed)?;
    // Serde would also read an array, field by field.
    if bytes.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
        return Err(Rejected::Malformed);
    }
    serde_json::from_slice(&bytes).map_err(|_| Rejected::Malformed)
}
