//! The token of a user, for a check at Cognito.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use super::{RevokedTokens, TokenFamily, TokenUser, verified::VerifiedToken};

/// A verified access token of a user, with its text. It is a secret, so there is no `Debug`.
#[expect(missing_debug_implementations, reason = "it holds a token")]
pub struct UserToken<'a> {
    /// The token.
    pub text: &'a str,
    /// Its user.
    pub user: Arc<TokenUser>,
    /// When it expires.
    pub expires_at: SystemTime,
    /// Whether its user may call Cognito with it, as its scope says.
    pub is_for_cognito: bool,
}

impl<'a> UserToken<'a> {
    /// Returns the token of a user; none for another token.
    pub(super) fn of(token: &'a [u8], verified: &VerifiedToken) -> Option<Self> {
        Some(Self {
            text: str::from_utf8(token).ok()?,
            user: Arc::clone(verified.identity.user.as_ref()?),
            expires_at: time(verified.validity.expires_at()),
            is_for_cognito: verified.identity.client.scopes.has(SCOPE),
        })
    }

    /// Returns the tokens that are revoked if this one is: those of its sign-in. One without a family can be
    /// revoked only with all tokens of the user that were issued before.
    pub fn revoked_with(&self) -> (RevokedTokens, SystemTime) {
        match self.user.family {
            Some(family) => (RevokedTokens::OfFamily(family), SystemTime::now()),
            None => (RevokedTokens::OfUser(self.user.sub.clone()), self.user.issued_at),
        }
    }

    /// Returns the name of the sign-in, or of this token if it does not say which.
    pub fn sign_in(&self) -> TokenFamily {
        let issued_at = self.user.issued_at.duration_since(UNIX_EPOCH).unwrap_or_default();
        let own = || TokenFamily::of(&format!("{} {}", self.user.sub.as_str(), issued_at.as_nanos()));
        self.user.family.unwrap_or_else(own)
    }
}

fn time(since_1970: Duration) -> SystemTime {
    UNIX_EPOCH.checked_add(since_1970).unwrap_or(UNIX_EPOCH)
}

/// What `GetUser` requires (Cognito API reference, `GetUser`).
const SCOPE: &str = "aws.cognito.signin.user.admin";
