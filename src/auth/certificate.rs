//! The names in a client certificate. The handshake has verified the certificate.

use std::{str::FromStr, time::SystemTime};

use rustls::pki_types::CertificateDer;
use thiserror::Error;
use webpki::EndEntityCert;

/// The subject alternative names of a client certificate (RFC 5280, section 4.2.1.6), by which
/// rules name callers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Certificate {
    names: Vec<AlternativeName>,
    valid_until: Option<SystemTime>,
}

impl Certificate {
    /// Reads the names of a certificate in DER. A certificate that cannot be read has none.
    pub fn read(der: &CertificateDer<'_>) -> Self {
        let Ok(certificate) = EndEntityCert::try_from(der) else { return Self::of(Vec::new()) };
        let uris = certificate.valid_uri_names().map(|uri| AlternativeName::Uri(uri.to_owned()));
        let hosts = certificate.valid_dns_names().map(|host| AlternativeName::Dns(host.to_owned()));
        Self::of(uris.chain(hosts).collect())
    }

    /// Returns the certificate with the time until which it is valid, if that is known.
    #[must_use]
    pub fn with_end(self, valid_until: Option<SystemTime>) -> Self {
        Self { valid_until, ..self }
    }

    /// Returns until when the certificate is valid, if that is known.
    pub(super) fn valid_until(&self) -> Option<SystemTime> {
        self.valid_until
    }

    fn of(names: Vec<AlternativeName>) -> Self {
        Self { names, valid_until: None }
    }

    /// Returns whether the certificate has this name, byte for byte: case is significant, and a
    /// wildcard matches only itself.
    pub fn has(&self, name: &AlternativeName) -> bool {
        self.names.contains(name)
    }

    /// Returns the first of its names.
    pub(super) fn first_name(&self) -> Option<&str> {
        self.names.first().map(AlternativeName::as_str)
    }

    /// Makes one without a signature, for the tests of other modules.
    #[cfg(test)]
    pub(crate) fn for_test(names: &[&str]) -> Self {
        Self::of(names.iter().map(|name| name.parse().unwrap()).collect())
    }
}

/// A name in a certificate: a URI such as `spiffe://example.com/billing`, or a host name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AlternativeName {
    /// A `dNSName`.
    Dns(String),
    /// A `uniformResourceIdentifier`.
    Uri(String),
}

impl AlternativeName {
    /// Returns the name as it is in the certificate.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Dns(name) | Self::Uri(name) => name,
        }
    }
}

impl FromStr for AlternativeName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let host = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
        let is_host = text.chars().all(host) && text.split('.').all(|label| !label.is_empty());
        match text.split_once("://") {
            Some((scheme, rest)) if !scheme.is_empty() && !rest.is_empty() => {
                let graphic = text.chars().all(|c| c.is_ascii_graphic());
                if graphic { Ok(Self::Uri(text.to_owned())) } else { Err(InvalidName) }
            }
            None if is_host => Ok(Self::Dns(text.to_owned())),
            _ => Err(InvalidName),
        }
    }
}

/// The error for a text that is not an [`AlternativeName`].
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("is no URI such as spiffe://example.com/billing, and no host's name in lower case")]
pub struct InvalidName;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_uri_or_a_host() {
        for (text, uri) in [
            ("spiffe://example.com/billing", Some(true)),
            ("https://Example.com/A?b#c", Some(true)),
            ("billing.example.com", Some(false)),
            ("billing", Some(false)),
            ("*.example.com", None),
            ("Billing.example.com", None),
            ("billing.example.com.", None),
            ("billing..com", None),
            ("spiffe://", None),
            ("://x", None),
            ("spiffe://example.com/a b", None),
            ("billing\0", None),
            ("", None),
        ] {
            let read =
                text.parse::<AlternativeName>().ok().map(|name| matches!(name, AlternativeName::Uri(_)));
            assert_eq!(read, uri, "{text:?}");
        }
    }

    #[test]
    fn an_unreadable_certificate_has_no_names() {
        assert_eq!(
            Certificate::read(&CertificateDer::from(vec![0x30, 0x03, 1, 2, 3])),
            Certificate::of(Vec::new())
        );
    }
}
