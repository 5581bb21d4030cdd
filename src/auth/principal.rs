//! The principal that identified a caller, as audit records name it.

use std::sync::Arc;

use super::{Certificate, Identity};

/// The kind and the name of a principal; cheap to clone.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Principal {
    /// `app_client`, `certificate` or `rule`.
    pub kind: &'static str,
    /// The id of the app client, the name in the certificate, or the name of the rule.
    pub name: Arc<str>,
}

impl Principal {
    /// An app client, by its id.
    pub fn app_client(id: &str) -> Self {
        Self { kind: "app_client", name: id.into() }
    }

    /// A client certificate, by a name in it.
    pub fn certificate(name: &str) -> Self {
        Self { kind: "certificate", name: name.into() }
    }

    /// A rule about networks, which identifies a caller by its address only.
    pub fn rule(name: &str) -> Self {
        Self { kind: "rule", name: name.into() }
    }

    /// Returns what identifies a caller that matches no rule; none for an address.
    pub fn of(identity: &Identity) -> Option<Self> {
        match identity {
            Identity::Machine(client) | Identity::User(client) => Some(Self::app_client(client.id.as_str())),
            Identity::Certificate(certificate) => Certificate::first_name(certificate).map(Self::certificate),
            Identity::Address { .. } => None,
        }
    }
}
