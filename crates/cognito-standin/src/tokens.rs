//! Tokens for tests and for the sandbox's banner, issued without a sign-in.

use std::io;

use serde_json::{Value, json};

use super::{
    StandIn,
    claims::{self, SignIn},
    keys::{Key, SigningKey},
    lock::lock,
    pool::MachineClient,
    state::State,
    user::User,
};

impl StandIn {
    /// Issues an access token to the user with that username, valid for an hour. Returns `None` if
    /// there is no such user. A disabled user gets one too, because Cognito's tokens stay valid
    /// when their user is disabled.
    pub fn access_token(&self, username: &str) -> Option<String> {
        let user = self.user(username)?;
        Some(self.state.access_token(&user, &self.state.first_sign_in(&user)))
    }

    /// Issues an ID token, otherwise as [`access_token`](Self::access_token).
    pub fn id_token(&self, username: &str) -> Option<String> {
        let user = self.user(username)?;
        Some(self.state.id_token(&user, &self.state.first_sign_in(&user)))
    }

    /// Issues a token of a machine client of the pool, with all its scopes.
    pub fn client_token(&self, client: &MachineClient) -> String {
        self.state.machine_token(&client.id, &client.scopes.join(" "))
    }

    /// Issues a client-credentials token. It does not check that the pool knows the client and the
    /// scopes.
    pub fn machine_token(&self, client_id: &str, scopes: &[&str]) -> String {
        self.state.machine_token(client_id, &scopes.join(" "))
    }

    /// Returns the claims of a new access token, to edit and [`sign`](Self::sign). Returns `None`
    /// if there is no such user.
    pub fn access_claims(&self, username: &str) -> Option<Value> {
        let user = self.user(username)?;
        Some(claims::access_token(self.issuer(), &user, &self.state.first_sign_in(&user)))
    }

    /// Returns the claims of a new client-credentials token, to edit and [`sign`](Self::sign).
    pub fn machine_claims(&self, client_id: &str, scopes: &[&str]) -> Value {
        claims::machine_token(self.issuer(), client_id, &scopes.join(" "))
    }

    /// Returns the header of a token signed by this key: its `kid` and RS256.
    pub fn header(&self, signing_key: SigningKey) -> Value {
        json!({"kid": self.kid(signing_key), "alg": "RS256"})
    }

    /// Returns the current `kid` of this key.
    pub fn kid(&self, signing_key: SigningKey) -> String {
        lock(&self.state.keys).key(signing_key).kid.clone()
    }

    /// Signs a token with this header and these claims, with RS256 whatever the header says.
    pub fn sign(&self, signing_key: SigningKey, header: &Value, claims: &Value) -> String {
        self.sign_raw(signing_key, &header.to_string(), &claims.to_string())
    }

    /// As [`sign`](Self::sign), of two texts that need not be valid JSON.
    pub fn sign_raw(&self, signing_key: SigningKey, header: &str, claims: &str) -> String {
        lock(&self.state.keys).key(signing_key).sign(header, claims)
    }

    /// Returns this private key in PKCS #8. Fails if it cannot be encoded.
    pub fn private_key(&self, signing_key: SigningKey) -> io::Result<Vec<u8>> {
        lock(&self.state.keys).key(signing_key).private()
    }

    /// Replaces the access key by a new one with a new `kid`. The JWKS drops the old one at once.
    /// Fails if the key cannot be generated.
    pub fn rotate_access_key(&self) -> io::Result<()> {
        let key = Key::generate()?;
        lock(&self.state.keys).replace_access(key);
        Ok(())
    }

    /// Returns the JWKS, to edit and [replace](Self::replace_jwks).
    pub fn jwks(&self) -> Value {
        lock(&self.state.keys).jwks()
    }
}

impl State {
    /// Returns a new sign-in of a user with the first app client.
    pub(super) fn first_sign_in(&self, user: &User) -> SignIn {
        SignIn::new(&user.username, self.pool.web_clients.first().map_or("", String::as_str))
    }

    pub(super) fn access_token(&self, user: &User, sign_in: &SignIn) -> String {
        self.token(SigningKey::Access, &claims::access_token(&self.issuer, user, sign_in))
    }

    pub(super) fn id_token(&self, user: &User, sign_in: &SignIn) -> String {
        self.token(SigningKey::Id, &claims::id_token(&self.issuer, user, sign_in))
    }

    pub(super) fn machine_token(&self, client_id: &str, scope: &str) -> String {
        self.token(SigningKey::Access, &claims::machine_token(&self.issuer, client_id, scope))
    }

    fn token(&self, signing_key: SigningKey, claims: &Value) -> String {
        self.signed(signing_key, signing_key, claims)
    }

    /// Signs with one key, under the id of another.
    pub(super) fn signed(&self, named: SigningKey, signing: SigningKey, claims: &Value) -> String {
        let keys = lock(&self.keys);
        // A literal, to keep Cognito's order of fields. A `kid` is base64 and needs no escaping.
        let header = format!(r#"{{"kid":"{}","alg":"RS256"}}"#, keys.key(named).kid);
        keys.key(signing).sign(&header, &claims.to_string())
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    use jsonwebtoken::{Algorithm, DecodingKey, TokenData, Validation, decode, jwk::JwkSet};

    use super::{
        super::{Keys, Pool},
        *,
    };

    fn verified(standin: &StandIn, key: usize, token: &str) -> Option<Value> {
        let set: JwkSet = serde_json::from_value(standin.jwks()).expect("a JWKS");
        let key = DecodingKey::from_jwk(&set.keys[key]).expect("an RSA key");
        let mut validation = Validation::new(Algorithm::RS256);
        validation.validate_aud = false;
        decode(token, &key, &validation).ok().map(|data: TokenData<Value>| data.claims)
    }

    fn standin() -> StandIn {
        StandIn::start(Pool::sandbox()).expect("a stand-in")
    }

    #[test]
    fn access_and_id_tokens_are_signed_by_their_own_keys() {
        let standin = standin();
        let access = standin.access_token("ada").expect("ada");
        let id = standin.id_token("ada").expect("ada");
        assert_eq!(verified(&standin, 0, &access).expect("the access key")["username"], "ada");
        assert_eq!(verified(&standin, 1, &id).expect("the ID key")["token_use"], "id");
        assert!(verified(&standin, 1, &access).is_none() && verified(&standin, 0, &id).is_none());
        assert!(standin.access_token("nobody").is_none());
    }

    #[test]
    fn the_header_is_cognitos_to_the_byte() {
        let standin = standin();
        let token = standin.machine_token("robot", &["a/read"]);
        let header = URL_SAFE_NO_PAD.decode(token.split('.').next().expect("a header")).expect("base64url");
        let expected = format!(r#"{{"kid":"{}","alg":"RS256"}}"#, standin.kid(SigningKey::Access));
        assert_eq!(String::from_utf8(header).expect("text"), expected);
    }

    #[test]
    fn rotation_replaces_the_kid_in_the_jwks() {
        let standin = standin();
        let (before, token) = (standin.kid(SigningKey::Access), standin.access_token("ada").expect("ada"));
        standin.rotate_access_key().expect("a new key");
        assert_ne!(standin.kid(SigningKey::Access), before);
        assert!(!standin.jwks().to_string().contains(&before));
        assert!(verified(&standin, 0, &token).is_none());
        assert!(verified(&standin, 0, &standin.access_token("ada").expect("ada")).is_some());
    }

    #[test]
    fn pools_with_different_keys_reject_each_others_tokens() {
        let address = ([127, 0, 0, 1], 0).into();
        let keys = Keys::generate().expect("keys");
        let (own, other) =
            (StandIn::start_with_keys(Pool::sandbox(), address, keys).expect("a stand-in"), standin());
        assert!(verified(&own, 0, &other.access_token("ada").expect("ada")).is_none());
    }

    #[test]
    fn the_unpublished_key_is_in_no_jwks() {
        let standin = standin();
        let claims = standin.access_claims("ada").expect("ada");
        let forged = standin.sign(SigningKey::Unpublished, &standin.header(SigningKey::Access), &claims);
        assert!(verified(&standin, 0, &forged).is_none() && verified(&standin, 1, &forged).is_none());
        assert!(!standin.jwks().to_string().contains(&standin.kid(SigningKey::Unpublished)));
    }
}
