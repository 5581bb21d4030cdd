//! RSA keys, generated at the start and kept in memory only.

use std::{
    fmt, io,
    sync::{Arc, Mutex},
};

use aws_lc_rs::{
    encoding::{AsDer as _, Pkcs8V1Der},
    rand::{self, SystemRandom},
    rsa::{KeyPair, KeySize},
    signature::{KeyPair as _, RSA_PKCS1_SHA256},
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{Jwk, PublicKeyUse},
};
use serde_json::{Value, json};

use super::lock::lock;

/// Which key signs a token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SigningKey {
    /// The pool's first key, which signs access tokens.
    Access,
    /// The pool's second key, which signs ID tokens.
    Id,
    /// A valid key with its own `kid` that no JWKS of this stand-in has.
    Unpublished,
}

/// The keys of one pool; a clone shares them.
#[derive(Clone)]
pub struct Keys {
    access: Arc<Key>,
    id: Arc<Key>,
    unpublished: Arc<Key>,
}

impl Keys {
    /// Returns the default keys, which all stand-ins of this process share. The first call
    /// generates them; fails if that fails.
    pub fn shared() -> io::Result<Self> {
        let mut shared = lock(&SHARED);
        if let Some(keys) = shared.as_ref() {
            return Ok(keys.clone());
        }
        Ok(shared.insert(Self::generate()?).clone())
    }

    /// Generates three new keys, which takes some tenths of a second. Fails if the generator fails.
    pub fn generate() -> io::Result<Self> {
        let make = || Key::generate().map(Arc::new);
        Ok(Self { access: make()?, id: make()?, unpublished: make()? })
    }

    /// The body of the JWKS: the access key, then the ID key.
    pub(super) fn jwks(&self) -> Value {
        json!({"keys": [self.access.jwk, self.id.jwk]})
    }

    pub(super) fn key(&self, signing_key: SigningKey) -> &Key {
        match signing_key {
            SigningKey::Access => &self.access,
            SigningKey::Id => &self.id,
            SigningKey::Unpublished => &self.unpublished,
        }
    }

    pub(super) fn replace_access(&mut self, key: Key) {
        self.access = Arc::new(key);
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys")
            .field("access", &self.access.kid)
            .field("id", &self.id.kid)
            .finish_non_exhaustive()
    }
}

/// An RSA-2048 key with its `kid`.
pub(super) struct Key {
    pair: KeyPair,
    pub(super) kid: String,
    jwk: Jwk,
}

impl Key {
    pub(super) fn generate() -> io::Result<Self> {
        let pair = KeyPair::generate(KeySize::Rsa2048).map_err(io::Error::other)?;
        // As Cognito's: 32 bytes of standard base64, so it always ends in `=` and often has a `+`
        // or `/`.
        let mut kid = [0; 32];
        rand::fill(&mut kid).map_err(io::Error::other)?;
        let kid = STANDARD.encode(kid);
        let public = DecodingKey::from_rsa_der(pair.public_key().as_ref());
        let mut jwk = Jwk::from_decoding_key(&public, Some(Algorithm::RS256)).map_err(io::Error::other)?;
        jwk.common.key_id = Some(kid.clone());
        jwk.common.public_key_use = Some(PublicKeyUse::Signature);
        Ok(Self { pair, kid, jwk })
    }

    /// Returns `base64url(header).base64url(claims).base64url(signature)` without parsing either
    /// text.
    pub(super) fn sign(&self, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = URL_SAFE_NO_PAD.encode(self.signature(message.as_bytes()));
        format!("{message}.{signature}")
    }

    #[expect(
        clippy::expect_used,
        reason = "a generated key signs any message into a buffer of its modulus' length"
    )]
    fn signature(&self, message: &[u8]) -> Vec<u8> {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).expect("RSA signs");
        signature
    }

    /// The public key, to verify signatures with.
    pub(super) fn verifier(&self) -> DecodingKey {
        DecodingKey::from_rsa_der(self.pair.public_key().as_ref())
    }

    /// The private key in PKCS #8.
    pub(super) fn private(&self) -> io::Result<Vec<u8>> {
        let der: Pkcs8V1Der<'_> = self.pair.as_der().map_err(io::Error::other)?;
        Ok(der.as_ref().to_vec())
    }
}

static SHARED: Mutex<Option<Keys>> = Mutex::new(None);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_jwks_has_the_two_pool_keys_in_order() {
        let keys = Keys::shared().expect("keys");
        let jwks = keys.jwks();
        let kids: Vec<_> =
            jwks["keys"].as_array().expect("keys").iter().map(|key| key["kid"].as_str()).collect();
        assert_eq!(
            kids,
            [SigningKey::Access, SigningKey::Id].map(|signing_key| Some(keys.key(signing_key).kid.as_str()))
        );
        let modulus = URL_SAFE_NO_PAD.decode(jwks["keys"][0]["n"].as_str().expect("n")).expect("base64url");
        assert_eq!((modulus.len(), &jwks["keys"][0]["e"]), (256, &json!("AQAB")));
    }

    #[test]
    fn kids_look_like_cognitos() {
        let keys = Keys::shared().expect("keys");
        for signing_key in [SigningKey::Access, SigningKey::Id, SigningKey::Unpublished] {
            assert!(keys.key(signing_key).kid.len() == 44 && keys.key(signing_key).kid.ends_with('='));
        }
    }
}
