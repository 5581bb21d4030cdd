//! Sign-ins, and which of their tokens are revoked.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::claims::{SignIn, now};

/// The sign-ins of all users.
#[derive(Default)]
pub(super) struct Sessions {
    by_refresh_token: HashMap<String, SignIn>,
    /// The usernames by the session of a `NEW_PASSWORD_REQUIRED` challenge.
    challenges: HashMap<String, String>,
    /// The `origin_jti` of each sign-in whose refresh token was revoked.
    revoked_families: HashSet<String>,
    /// When each username was last signed out everywhere, in seconds since 1970.
    signed_out: HashMap<String, u64>,
}

impl Sessions {
    /// Adds a session and returns its refresh token.
    pub(super) fn add(&mut self, sign_in: SignIn) -> String {
        let token = format!("{}.{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        self.by_refresh_token.insert(token.clone(), sign_in);
        token
    }

    /// Returns the sign-in of a refresh token.
    pub(super) fn get(&self, refresh_token: &str) -> Option<&SignIn> {
        self.by_refresh_token.get(refresh_token)
    }

    /// Adds a challenge to a user and returns its session.
    pub(super) fn challenge(&mut self, username: &str) -> String {
        let session = Uuid::new_v4().to_string();
        self.challenges.insert(session.clone(), username.to_owned());
        session
    }

    /// Ends the challenge of this session. Returns the user.
    pub(super) fn end_challenge(&mut self, session: &str) -> Option<String> {
        self.challenges.remove(session)
    }

    /// Ends the session of a refresh token of this app client, and revokes its access tokens. An
    /// unknown token is no error (RFC 7009, section 2.2).
    pub(super) fn revoke(&mut self, refresh_token: &str, client_id: &str) {
        let is_own = |sign_in: &SignIn| sign_in.client_id == client_id;
        if self.get(refresh_token).is_some_and(is_own)
            && let Some(sign_in) = self.by_refresh_token.remove(refresh_token)
        {
            self.revoked_families.insert(sign_in.origin_jti);
        }
    }

    /// Revokes the access tokens of one sign-in.
    pub(super) fn revoke_family(&mut self, origin_jti: &str) {
        self.by_refresh_token.retain(|_, sign_in| sign_in.origin_jti != origin_jti);
        self.revoked_families.insert(origin_jti.to_owned());
    }

    /// Ends every session of a user.
    pub(super) fn end_all(&mut self, username: &str) {
        self.by_refresh_token.retain(|_, sign_in| sign_in.username != username);
    }

    /// Ends every session of a user, and revokes all its tokens issued until now.
    pub(super) fn revoke_all(&mut self, username: &str) {
        self.end_all(username);
        self.signed_out.insert(username.to_owned(), now());
    }

    /// Returns whether an access token is revoked. `issued_at` is in seconds since 1970.
    pub(super) fn is_revoked(&self, username: &str, origin_jti: &str, issued_at: u64) -> bool {
        // A sign-in right after the sign-out has the same second, but its session is not ended.
        let is_live = || self.by_refresh_token.values().any(|sign_in| sign_in.origin_jti == origin_jti);
        let signed_out = self.signed_out.get(username).is_some_and(|at| issued_at <= *at);
        self.revoked_families.contains(origin_jti) || (signed_out && !is_live())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_revoked(sessions: &Sessions, sign_in: &SignIn) -> bool {
        sessions.is_revoked(&sign_in.username, &sign_in.origin_jti, now())
    }

    #[test]
    fn revoking_a_refresh_token_revokes_its_family_only() {
        let mut sessions = Sessions::default();
        let [one, two] = [SignIn::new("eve", "web"), SignIn::new("eve", "web")];
        let [token, _] = [sessions.add(one.clone()), sessions.add(two.clone())];
        sessions.revoke(&token, "other-client");
        assert!(!is_revoked(&sessions, &one));
        sessions.revoke(&token, "web");
        sessions.revoke("unknown", "web");
        assert_eq!((is_revoked(&sessions, &one), is_revoked(&sessions, &two)), (true, false));
        assert!(sessions.get(&token).is_none());
    }

    #[test]
    fn a_sign_out_revokes_earlier_tokens_and_no_later_sign_in() {
        let mut sessions = Sessions::default();
        let [before, other] = [SignIn::new("eve", "web"), SignIn::new("mel", "web")];
        sessions.add(before.clone());
        sessions.revoke_all("eve");
        let after = SignIn::new("eve", "web");
        sessions.add(after.clone());
        let revoked = [&before, &other, &after].map(|sign_in| is_revoked(&sessions, sign_in));
        assert_eq!(revoked, [true, false, false]);
        assert!(!sessions.is_revoked("eve", "without a session", now() + 1));
        assert!(sessions.is_revoked("eve", "without a session", now()));
    }
}
