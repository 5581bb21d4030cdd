use aws_lc_rs::{
    rand::SystemRandom,
    rsa::KeyPair,
    signature::{RSA_PKCS1_SHA256, RsaEncoding},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use cognito_lookup::proto::{GetUserRequest, GetUserResponse};
use cognito_standin::{SigningKey, StandIn};
use num_bigint::BigUint;
use serde_json::Value;
use tonic::{Code, Request, Status, metadata::MetadataValue};

use crate::support::{App, failure};

/// A server that gets forged tokens, and a valid one after each.
pub(crate) struct RejectionTest {
    pub(crate) app: App,
    pub(crate) good: String,
    lookups: usize,
    fetches: usize,
}

/// A forged token: its description, the token, and the expected reason.
pub(crate) type Case<'a> = (&'a str, String, &'a str);

impl RejectionTest {
    pub(crate) async fn start() -> Self {
        Self::with_app(App::start().await).await
    }

    pub(crate) async fn with_app(app: App) -> Self {
        let good = app.token("ada");
        app.get_by_token(&good).await.unwrap();
        let (lookups, fetches) = (app.cognito_lookups(), app.cognito.calls("jwks"));
        Self { app, good, lookups, fetches }
    }

    /// Sends every token in the metadata and in the field, with a valid token after each. Panics if
    /// one is accepted, or if any causes a call to Cognito or for keys.
    pub(crate) async fn assert_rejected(self, cases: Vec<Case<'_>>) {
        assert!(!cases.is_empty());
        for (case, token, reason) in &cases {
            let code = match *reason {
                "KEYS_UNAVAILABLE" => Code::Unavailable,
                _ => Code::Unauthenticated,
            };
            for (way, answer) in self.both_ways(token).await {
                let failure = failure(&answer.expect_err(case));
                assert_eq!(failure, (code, (*reason).to_owned()), "{case}, in {way}");
            }
            assert!(self.app.get_by_token(&self.good).await.is_ok(), "the good token after {case}");
        }
        assert!(self.app.get_by_token(&self.app.token("ada")).await.is_ok(), "a new good token");
        assert_eq!(self.app.cognito_lookups(), self.lookups, "calls to Cognito");
        assert_eq!(self.app.cognito.calls("jwks"), self.fetches, "fetches of keys");
    }

    /// Sends tokens of ada in the metadata and in the field. Panics if one is refused.
    pub(crate) async fn assert_accepted(&self, cases: Vec<(&str, String)>) {
        for (case, token) in cases {
            for (way, answer) in self.both_ways(&token).await {
                assert!(answer.is_ok(), "{case}, in {way}: {answer:?}");
            }
        }
        assert_eq!(
            (self.app.cognito_lookups(), self.app.cognito.calls("jwks")),
            (self.lookups, self.fetches)
        );
    }

    async fn both_ways(&self, token: &str) -> Vec<(&'static str, Result<GetUserResponse, Status>)> {
        let mut answers = Vec::new();
        // Not every text is valid in metadata.
        if let Ok(authorization) = MetadataValue::try_from(format!("Bearer {token}")) {
            let mut request = Request::new(GetUserRequest::default());
            request.metadata_mut().insert("authorization", authorization);
            answers.push(("authorization", self.app.get_user(request).await));
        }
        let message = GetUserRequest { access_token: token.to_owned(), ..GetUserRequest::default() };
        answers.push(("access_token", self.app.get_user(Request::new(message)).await));
        answers
    }
}

/// Signs forged tokens with a private key of the stand-in.
pub(crate) struct TokenForger {
    pair: KeyPair,
    pub(crate) kid: String,
    pub(crate) n: BigUint,
    d: BigUint,
}

impl TokenForger {
    pub(crate) fn with_key(cognito: &StandIn, signer: SigningKey) -> Self {
        let der = cognito.private_key(signer).unwrap();
        let [n, d] = numbers(&der);
        Self { pair: KeyPair::from_pkcs8(&der).unwrap(), kid: cognito.kid(signer), n, d }
    }

    /// Returns a token with this header and these claims, which need not be JSON.
    pub(crate) fn token(&self, header: impl AsRef<[u8]>, claims: impl AsRef<[u8]>) -> String {
        self.sign(&format!("{}.{}", encoded(header), encoded(claims)))
    }

    pub(crate) fn sign(&self, signed: &str) -> String {
        self.sign_with(&RSA_PKCS1_SHA256, signed)
    }

    pub(crate) fn sign_with(&self, algorithm: &'static dyn RsaEncoding, signed: &str) -> String {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair.sign(algorithm, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
        format!("{signed}.{}", encoded(signature))
    }

    /// Applies the RSA private key to a padded message, whatever its content.
    pub(crate) fn raw(&self, padded: &[u8]) -> Vec<u8> {
        fixed(&BigUint::from_bytes_be(padded).modpow(&self.d, &self.n))
    }

    /// Returns the key as a JWK with another `kid`.
    pub(crate) fn jwk(&self, kid: &str) -> Value {
        let n = encoded(self.n.to_bytes_be());
        serde_json::json!({"alg": "RS256", "e": "AQAB", "kid": kid, "kty": "RSA", "n": n, "use": "sig"})
    }

    pub(crate) fn pair(&self) -> &KeyPair {
        &self.pair
    }
}

pub(crate) fn encoded(part: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(part)
}

/// Returns a number with the length of a signature.
pub(crate) fn fixed(number: &BigUint) -> Vec<u8> {
    let bytes = number.to_bytes_be();
    [vec![0; 256 - bytes.len()], bytes].concat()
}

/// Returns the modulus and the private exponent of a key (RFC 5208, section 5; RFC 8017, appendix
/// A.1.2).
fn numbers(pkcs8: &[u8]) -> [BigUint; 2] {
    let field = |der: &[u8], at: usize| {
        let mut rest = der.to_vec();
        for _ in 0..at {
            rest = split(&rest).1;
        }
        split(&rest).0
    };
    let key = field(&field(&field(pkcs8, 0), 2), 0);
    [1, 3].map(|at| BigUint::from_bytes_be(&field(&key, at)))
}

/// Returns the content of the first DER value, and the bytes after it.
fn split(der: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (length, head) = match der[1] {
        short @ 0..0x80 => (usize::from(short), 2),
        long => {
            let bytes = usize::from(long & 0x7f);
            (der[2..2 + bytes].iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), 2 + bytes)
        }
    };
    (der[head..head + length].to_vec(), der[head + length..].to_vec())
}
