//! Secrets that come from environment variables. They are not settings, so that none can be in a file or
//! in the output of `config print`.

use std::ffi::OsString;

use zeroize::Zeroizing;

/// The value of an environment variable. Its memory is wiped when it is dropped, and its `Debug` shows
/// nothing.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Returns the secret as bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<OsString> for Secret {
    fn from(value: OsString) -> Self {
        Self(Zeroizing::new(value.into_encoded_bytes()))
    }
}

impl From<&str> for Secret {
    fn from(value: &str) -> Self {
        OsString::from(value).into()
    }
}

redacted_debug!(Secret);

/// The secrets that environment variables may have; an empty variable counts as unset.
#[derive(Clone, Debug, Default)]
pub struct Secrets {
    /// The key of the audit records, in place of `audit.key_file`.
    pub audit_key: Option<Secret>,
    /// The key of earlier audit records, in place of `audit.previous_key_file`.
    pub previous_audit_key: Option<Secret>,
}

impl Secrets {
    /// Removes the secrets from the variables that settings are read from.
    pub(super) fn take(environment: &mut Vec<(OsString, OsString)>) -> Self {
        let mut take = |variable: &str| {
            let at = environment.iter().position(|(name, _)| name == variable)?;
            let (_, value) = environment.swap_remove(at);
            (!value.is_empty()).then(|| Secret::from(value))
        };
        Self { audit_key: take(AUDIT_KEY), previous_audit_key: take(PREVIOUS_AUDIT_KEY) }
    }
}

/// The variable with the key of the audit records.
pub const AUDIT_KEY: &str = "COGNITO_LOOKUP_AUDIT_KEY";
/// The variable with the key of earlier audit records.
pub const PREVIOUS_AUDIT_KEY: &str = "COGNITO_LOOKUP_AUDIT_PREVIOUS_KEY";
