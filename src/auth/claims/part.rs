//! One part of a token, read as JSON without being lenient about anything that could be read in two ways.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, IgnoredAny},
};

use crate::auth::Rejected;

/// A JSON value of the type a claim must have, or of another: which of the two decides the reason of a refusal.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Typed<T> {
    Expected(T),
    Other(IgnoredAny),
}

/// Whether a header parameter is there at all, whatever it holds (`null` too).
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

/// Decodes canonical base64url without padding (RFC 7515, section 2) and reads the object in it; a name given twice that
/// the type knows is refused.
pub(super) fn json<T: DeserializeOwned>(part: &str) -> Result<T, Rejected> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| Rejected::Malformed)?;
    // serde would take an array for a struct, field by field.
    if bytes.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
        return Err(Rejected::Malformed);
    }
    serde_json::from_slice(&bytes).map_err(|_| Rejected::Malformed)
}
