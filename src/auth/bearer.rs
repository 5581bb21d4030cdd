//! Finds at most one token in the metadata, or takes one from a field, and reads its form. Says nothing about its worth.

use std::fmt;

use http::header::AUTHORIZATION;
use tonic::metadata::MetadataMap;

use super::Rejected;

/// A token as it was presented: at most 32 KiB, and nothing else is known of it.
#[derive(Clone, Copy)]
pub(super) struct RawToken<'a>(&'a [u8]);

impl<'a> RawToken<'a> {
    /// Finds the token in `authorization`; none if there is no such entry. An entry that is not a bearer token is
    /// refused, never passed over (RFC 6750, section 2.1; RFC 9110, section 11.1: the scheme's case does not matter).
    pub(super) fn from_metadata(metadata: &'a MetadataMap) -> Result<Option<Self>, Rejected> {
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
            (scheme, Some(token)) if is_bearer(scheme) => Self::of(token).map(Some),
            (_, Some(_)) => Err(Rejected::Missing),
        }
    }

    /// Takes a token as it stands, without a scheme.
    pub(super) fn from_field(token: &'a str) -> Result<Self, Rejected> {
        Self::of(token.as_bytes())
    }

    fn of(token: &'a [u8]) -> Result<Self, Rejected> {
        if token.len() > MAX_BYTES { Err(Rejected::Malformed) } else { Ok(Self(token)) }
    }

    /// Returns all of it.
    pub(super) fn as_bytes(&self) -> &'a [u8] {
        self.0
    }

    /// Reads its form.
    pub(super) fn read(self) -> Result<BearerToken<'a>, Rejected> {
        BearerToken::parse(str::from_utf8(self.0).map_err(|_| Rejected::Malformed)?)
    }
}

/// A token in compact JWS form (RFC 7515, section 7.1): three parts in strict base64url, at most 32 KiB.
/// It is a secret: no `Display`, and its `Debug` shows nothing of it.
#[derive(Clone, Copy)]
pub(super) struct BearerToken<'a> {
    pub(super) header: &'a str,
    pub(super) payload: &'a str,
    pub(super) signature: &'a str,
    /// The header and the payload with the dot between them: what was signed.
    pub(super) signed: &'a str,
}

impl<'a> BearerToken<'a> {
    fn parse(token: &'a str) -> Result<Self, Rejected> {
        let (signed, signature) = token.rsplit_once('.').ok_or(Rejected::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(Rejected::Malformed)?;
        if [header, payload, signature].iter().any(|part| part.is_empty() || !part.bytes().all(is_base64url))
        {
            return Err(Rejected::Malformed);
        }
        Ok(Self { header, payload, signature, signed })
    }
}

impl fmt::Debug for BearerToken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BearerToken(redacted)")
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
mod tests {
    use tonic::metadata::MetadataValue;

    use super::*;

    #[test]
    fn one_bearer_token_is_found() {
        let found = |entry: &str| match read(&metadata(&[entry])) {
            Ok(token) => Ok(token.map(|token| token.signature.to_owned())),
            Err(rejected) => Err(rejected),
        };
        for good in ["Bearer h.p.s", "bearer h.p.s", "BEARER h.p.s", "bEaReR h.p.s"] {
            assert_eq!(found(good), Ok(Some("s".to_owned())), "{good:?}");
        }
        for missing in ["", "Bearer", "Bearer ", "bearer", "Basic YTpi", "DPoP h.p.s", "Token h.p.s"] {
            assert_eq!(found(missing), Err(Rejected::Missing), "{missing:?}");
        }
        for malformed in [
            "Bearer  h.p.s",
            "Bearer\th.p.s",
            "Bearer h.p.s ",
            " Bearer h.p.s",
            "Bearerh.p.s",
            "h.p.s",
            "Bearer h.p.s, Bearer h.p.s",
            "Bearer h.p.s,h.p.s",
        ] {
            assert_eq!(found(malformed), Err(Rejected::Malformed), "{malformed:?}");
        }
    }

    #[test]
    fn no_entry_is_no_token_and_two_are_malformed() {
        assert!(read(&metadata(&[])).unwrap().is_none());
        assert!(read(&metadata(&["Bearer h.p.s", "Bearer h.p.s"])).is_err());
        let mut bytes = MetadataMap::new();
        bytes.insert("authorization", MetadataValue::try_from(&b"Bearer h.p.\x80"[..]).unwrap());
        assert_eq!(read(&bytes).unwrap_err(), Rejected::Malformed);
        let mut others = MetadataMap::new();
        others.insert("authorization", MetadataValue::try_from(&b"Basic \x80"[..]).unwrap());
        assert_eq!(read(&others).unwrap_err(), Rejected::Missing, "it is of another scheme");
        let mut elsewhere = MetadataMap::new();
        elsewhere.insert("x-forwarded-authorization", "Bearer h.p.s".parse().unwrap());
        assert!(read(&elsewhere).unwrap().is_none());
    }

    #[test]
    fn the_form_is_compact_and_strict() {
        assert_eq!(parse("aA0.-_.s").unwrap().signed, "aA0.-_");
        let long = format!("h.{}.s", "p".repeat(MAX_BYTES));
        for bad in [
            "",
            "h",
            "h.p",
            "h.p.s.x",
            ".h.p.s",
            "h..s",
            ".p.s",
            "h.p.",
            "...",
            "h.p.s.",
            "h=.p.s",
            "h.p==.s",
            "h.p.s=",
            "h+.p.s",
            "h.p/.s",
            "h.p.s\n",
            "h .p.s",
            "h.p?.s",
            "h.%2E.s",
            "h.p\0.s",
            "h.é.s",
            "{\"payload\":\"x\"}",
            &long,
        ] {
            assert_eq!(parse(bad).unwrap_err(), Rejected::Malformed, "{bad:?}");
        }
    }

    fn read(metadata: &MetadataMap) -> Result<Option<BearerToken<'_>>, Rejected> {
        RawToken::from_metadata(metadata)?.map(RawToken::read).transpose()
    }

    fn parse(token: &str) -> Result<BearerToken<'_>, Rejected> {
        RawToken::from_field(token)?.read()
    }

    fn metadata(entries: &[&str]) -> MetadataMap {
        let mut metadata = MetadataMap::new();
        for entry in entries {
            metadata.append("authorization", entry.parse().unwrap());
        }
        metadata
    }
}
