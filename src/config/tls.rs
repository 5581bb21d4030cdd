//! The settings of TLS.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bounded::{Bounded, HOUR};

/// The encryption of connections and the verification of client certificates. `[tls]`
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TlsSettings {
    /// The PEM file of the certificate chain, the server's certificate first; default no TLS.
    pub certificate: Option<String>,
    /// The PEM file of the certificate's private key; required where `certificate` is set.
    pub key: Option<String>,
    /// The PEM file of the authorities of client certificates; required unless `client_certificate`
    /// is `off`.
    pub client_ca: Option<String>,
    /// Whether clients must present a certificate; default `off`.
    pub client_certificate: ClientCertificate,
    /// How often these files, and the settings file, are checked for changes; default `10s`.
    #[serde(with = "Bounded::<Duration, 100, HOUR>")]
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
    /// None is requested.
    #[default]
    Off,
    /// One is requested, and verified if the client presents it.
    Optional,
    /// A connection without a valid one is refused.
    Required,
}
