//! Extracts the token of a request from its metadata or its field, and splits it. Verifies nothing.

use http::header::AUTHORIZATION;
use tonic::metadata::MetadataMap;

use super::Rejected;

/// Returns the token in `authorization`, or none if there is no such entry. An entry that is not a
/// bearer token is refused (RFC 6750, section 2.1). The scheme is case-insensitive (RFC 9110,
/// section 11.1).
pub(super) fn in_metadata(metadata: &MetadataMap) -> Result<Option<&[u8]>, Rejected> {
    let mut entries = metadata.as_ref().get_all(AUTHORIZATION).iter();
    let Some(entry) = entries.next() else { return Ok(None) };
    if entries.next().is_some() {
        return Err(Rejected::Malformed);
    }
    let mut parts = entry.as_bytes().splitn(2, |byte| *byte == b' ');
    match (parts.next().unwrap_or_default(), parts.next()) {
        (scheme, None) if scheme.is_empty() || is_bearer(scheme) => Err(Rejected::Missing),
        (_, None) | ([], Some(_)) => Err(Rejected::Malformed),
        (scheme, Some([])) if is_bearer(scheme) => Err(Rejected::Missing),
        (scheme, Some(token)) if is_bearer(scheme) => bounded(token).map(Some),
        (_, Some(_)) => Err(Rejected::Missing),
    }
}

/// Refuses a token of more than 32 KiB.
pub(super) fn bounded(token: &[u8]) -> Result<&[u8], Rejected> {
    if token.len() > MAX_BYTES { Err(Rejected::Malformed) } else { Ok(token) }
}

/// A token in compact JWS form (RFC 7515, section 7.1): three parts of base64url characters, at
/// most 32 KiB in all. It is a secret: it has neither `Display` nor `Debug`.
#[derive(Clone, Copy)]
pub(super) struct BearerToken<'a> {
    pub(super) header: &'a str,
    pub(super) payload: &'a str,
    pub(super) signature: &'a str,
    /// The signing input: header, dot and payload.
    pub(super) signed: &'a str,
}

impl<'a> BearerToken<'a> {
    /// Splits a token into its parts.
    pub(super) fn parse(token: &'a [u8]) -> Result<Self, Rejected> {
        let token = str::from_utf8(token).map_err(|_| Rejected::Malformed)?;
        let (signed, signature) = token.rsplit_once('.').ok_or(Rejected::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(Rejected::Malformed)?;
        if [header, payload, signature].iter().any(|part| part.is_empty() || !part.bytes().all(is_base64url))
        {
            return Err(Rejected::Malformed);
        }
        Ok(Self { header, payload, signature, signed })
    }
}

fn is_bearer(scheme: &[u8]) -> bool {
    scheme.eq_ignore_ascii_case(b"bearer")
}

const fn is_base64url(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

// A token with Cognito's most groups (100 of 128 characters) and 50 scopes is about 20 KiB.
const MAX_BYTES: usize = 32 * 1024;

#[cfg(test)]
mod tests;
