//! The lease of a fetch: its holder alone fetches a user for all replicas.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

/// Tells one lease from all others, of any replica.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct LeaseToken(String);

impl LeaseToken {
    /// Makes a token of 16 random bytes. It need not be a secret: only who may write to the store can
    /// use it.
    pub fn random() -> Self {
        Self(URL_SAFE_NO_PAD.encode(fastrand::u128(..).to_le_bytes()))
    }

    pub(super) const fn from_text(text: String) -> Self {
        Self(text)
    }

    /// Returns the token as the store has it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LeaseToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_new_and_cannot_change_the_form_of_a_lease() {
        let [one, other] = [LeaseToken::random(), LeaseToken::random()];
        assert_ne!(one, other);
        assert_eq!(one.as_str().len(), 22);
        assert!(!one.to_string().contains(':'));
    }
}
