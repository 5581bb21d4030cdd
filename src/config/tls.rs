//! The settings of TLS, each field with its unit, bounds and default.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{choice, text};

/// How connections are encrypted, and whose certificates are asked for: `[tls]`.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TlsSettings {
    /// The file of the certificate chain in PEM, the server's own first; default none, and then nothing is encrypted.
    #[serde(deserialize_with = "text::optional")]
    pub certificate: Option<String>,
    /// The file of the certificate's private key in PEM; required where `certificate` is set.
    #[serde(deserialize_with = "text::optional")]
    pub key: Option<String>,
    /// The file of the certificate authorities in PEM that client certificates are verified against; required unless
    /// `client_certificate` is `off`.
    #[serde(deserialize_with = "text::optional")]
    pub client_ca: Option<String>,
    /// Whether clients must present a certificate; default `off`.
    #[serde(deserialize_with = "choice::deserialize")]
    pub client_certificate: ClientCertificate,
    /// How often the files are looked at for changes; `100ms` to `1h`, default `10s`.
    #[serde(with = "text::DurationText")]
    pub check_every: Duration,
}

impl Default for TlsSettings {
    fn default() -> Self {
        Self {
            certificate: None,
            key: None,
            client_ca: None,
            client_certificate: ClientCertificate::Off,
            check_every: Duration::from_secs(10),
        }
    }
}

/// Whether clients must present a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ClientCertificate {
    /// None is asked for.
    #[default]
    Off,
    /// One is asked for, and verified if it comes.
    Optional,
    /// Without a good one there is no connection.
    Required,
}
