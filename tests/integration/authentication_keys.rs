use std::net::TcpListener;

use aws_lc_rs::{
    encoding::{AsDer as _, PublicKeyX509Der},
    hmac,
    signature::{
        KeyPair as _, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512,
        RsaEncoding,
    },
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use cognito_standin::SigningKey;
use num_bigint::BigUint;
use serde_json::{Value, json};

use crate::support::forged_tokens::{Case, RejectionTest, TokenForger, encoded, fixed};

const INVALID: &str = "TOKEN_INVALID";
const MALFORMED: &str = "TOKEN_MALFORMED";

#[tokio::test]
async fn no_algorithm_but_rs256_is_taken() {
    let trial = RejectionTest::start().await;
    let (forge, claims) = tools(&trial);
    let kid = &forge.kid;
    let signed =
        |alg: Value| format!("{}.{}", encoded(json!({"alg": alg, "kid": kid}).to_string()), encoded(&claims));
    let mut cases: Vec<Case<'_>> = Vec::new();
    let signature = trial.good.rsplit('.').next().unwrap().to_owned();
    for none in ["none", "None", "NONE", "nOnE"] {
        cases.push(("A44 none", format!("{}.", signed(json!(none))), MALFORMED));
        cases.push(("A45 none with a signature", format!("{}.{signature}", signed(json!(none))), MALFORMED));
        cases.push(("A45 none, signed", forge.sign(&signed(json!(none))), MALFORMED));
    }
    for alg in [
        json!(null),
        json!(256),
        json!(["RS256"]),
        json!(""),
        json!("RS256 "),
        json!("rs256"),
        json!("RS256\0"),
    ] {
        cases.push(("A46 a misspelt alg", forge.sign(&signed(alg)), MALFORMED));
    }
    cases.push(("A46 no alg", forge.token(json!({"kid": kid}).to_string(), &claims), MALFORMED));
    let others: [(&str, &'static dyn RsaEncoding); 5] = [
        ("RS384", &RSA_PKCS1_SHA384),
        ("RS512", &RSA_PKCS1_SHA512),
        ("PS256", &RSA_PSS_SHA256),
        ("PS384", &RSA_PSS_SHA384),
        ("PS512", &RSA_PSS_SHA512),
    ];
    for (alg, algorithm) in others {
        cases.push((
            "A50 the right key by another algorithm",
            forge.sign_with(algorithm, &signed(json!(alg))),
            INVALID,
        ));
        cases.push((
            "A50 the same, called RS256",
            forge.sign_with(algorithm, &signed(json!("RS256"))),
            INVALID,
        ));
    }
    for alg in ["ES256", "ES384", "ES256K", "EdDSA"] {
        for signature in [[0; 64], [1; 64], [0xff; 64]] {
            cases.push((
                "A51 A52 a curve's, under an RSA key's name",
                format!("{}.{}", signed(json!(alg)), encoded(signature)),
                INVALID,
            ));
        }
    }
    for alg in ["ML-DSA-65", "RS256K", "HS257"] {
        cases.push(("A53 another alg", forge.sign(&signed(json!(alg))), MALFORMED));
    }
    trial.assert_rejected(cases).await;
}

#[tokio::test]
async fn no_secret_makes_a_token_good() {
    let trial = RejectionTest::start().await;
    let (forge, claims) = tools(&trial);
    let public = forge.pair().public_key();
    let x509: PublicKeyX509Der<'_> = public.as_der().unwrap();
    let pem = |label: &str, der: &[u8]| {
        let lines = STANDARD.encode(der).into_bytes();
        let lines: Vec<_> = lines.chunks(64).map(|line| String::from_utf8(line.to_vec()).unwrap()).collect();
        format!("-----BEGIN {label}-----\n{}\n-----END {label}-----", lines.join("\n"))
    };
    let (spki, pkcs1) = (pem("PUBLIC KEY", x509.as_ref()), pem("RSA PUBLIC KEY", public.as_ref()));
    let jwks = trial.app.cognito.jwks();
    let n = forge.n.to_bytes_be();
    let mut secrets: Vec<Vec<u8>> = vec![
        format!("{spki}\n").into(),
        spki.into(),
        format!("{pkcs1}\n").into(),
        pkcs1.into(),
        x509.as_ref().into(),
        public.as_ref().into(),
        encoded(&n).into(),
        n,
        jwks["keys"][0].to_string().into(),
        jwks.to_string().into(),
    ];
    secrets.extend(["", "secret", "password", "changeme", "jwt", "key", "1"].map(Vec::from));
    let mut cases: Vec<Case<'_>> = Vec::new();
    for (alg, algorithm) in
        [("HS256", hmac::HMAC_SHA256), ("HS384", hmac::HMAC_SHA384), ("HS512", hmac::HMAC_SHA512)]
    {
        for secret in &secrets {
            for header in [alg, "RS256"] {
                let header = json!({"alg": header, "kid": forge.kid}).to_string();
                let signed = format!("{}.{}", encoded(header), encoded(&claims));
                let tag = hmac::sign(&hmac::Key::new(algorithm, secret), signed.as_bytes());
                cases.push(("A47 A48 a secret that is none", format!("{signed}.{}", encoded(tag)), INVALID));
            }
        }
    }
    trial.assert_rejected(cases).await;
}

#[tokio::test]
async fn a_signature_is_of_these_bytes_and_padded_as_it_must_be() {
    let trial = RejectionTest::start().await;
    let (forge, claims) = tools(&trial);
    let header = trial.app.cognito.header(SigningKey::Access).to_string();
    let signed = format!("{}.{}", encoded(&header), encoded(&claims));
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, signed.as_bytes());
    let padded = |kind: u8, fill: u8, info: &[u8], behind: &[u8]| {
        let rest = 256 - 3 - info.len() - behind.len();
        [&[0, kind][..], &vec![fill; rest], &[0], info, behind].concat()
    };
    let info = |prefix: &[u8]| [prefix, digest.as_ref()].concat();
    let with = |signature: &[u8]| format!("{signed}.{}", encoded(signature));
    let good = padded(1, 0xff, &info(&SHA256), &[]);
    trial.assert_accepted(vec![("A56 the control", with(&forge.raw(&good)))]).await;

    let (s, one) = (BigUint::from_bytes_be(&forge.raw(&good)), BigUint::from(1_u8));
    let n = &forge.n;
    let number = |number: &BigUint| with(&fixed(number));
    let mut cases: Vec<Case<'_>> = vec![
        ("A49 A57 zeros", with(&[0; 256]), INVALID),
        ("A57 one", number(&one), INVALID),
        ("A57 n - 1", number(&(n - &one)), INVALID),
        ("A57 n", number(n), INVALID),
        ("A57 n - s", number(&(n - &s)), INVALID),
        ("A57 zero before", with(&[&[0][..], &fixed(&s)].concat()), INVALID),
        ("A57 zero behind", with(&[&fixed(&s)[..], &[0]].concat()), INVALID),
        ("A57 shorter", with(&fixed(&s)[..255]), INVALID),
        ("A57 without its first byte", with(&fixed(&s)[1..]), INVALID),
        ("A57 one byte", with(&[1]), INVALID),
    ];
    let sum = (n + &s).to_bytes_be();
    cases.push(("A57 s + n", with(&sum), INVALID));
    let mut gap = good.clone();
    gap[100] = 0;
    for (case, padded) in [
        ("A56 of block type 2", padded(2, 0xff, &info(&SHA256), &[])),
        ("A56 of block type 0", padded(0, 0, &info(&SHA256), &[])),
        ("A56 filled with something else", padded(1, 0xfe, &info(&SHA256), &[])),
        ("A56 with a gap", gap),
        (
            "A56 with something behind the digest",
            [&[0, 1][..], &[0xff; 8], &[0], &info(&SHA256), &[0x5a; 194]].concat(),
        ),
        ("A56 without parameters", padded(1, 0xff, &info(&SHA256_WITHOUT_NULL), &[])),
        ("A56 of another hash's name", padded(1, 0xff, &info(&SHA512_256), &[])),
        ("A56 of a length of two bytes", padded(1, 0xff, &info(&SHA256_LONG), &[])),
        ("A56 the digest alone", padded(1, 0xff, digest.as_ref(), &[])),
    ] {
        assert_eq!(padded.len(), 256, "{case}");
        cases.push((case, with(&forge.raw(&padded)), INVALID));
    }
    let other = trial.app.token("bob");
    let [_, body, signature] = other.split('.').collect::<Vec<_>>().try_into().unwrap();
    cases.push(("A59 another's signature", format!("{signed}.{signature}"), INVALID));
    cases.push((
        "A59 another's claims",
        format!("{}.{body}.{}", encoded(&header), encoded(fixed(&s))),
        INVALID,
    ));
    cases.push(("A49 no signature", format!("{signed}."), MALFORMED));
    let stranger = TokenForger::with_key(&trial.app.cognito, SigningKey::Unpublished);
    cases.push(("A60 a stranger's, under this key's name", stranger.token(&header, &claims), INVALID));
    trial.assert_rejected(cases).await;
}

#[tokio::test]
async fn a_token_brings_no_key_and_no_address_of_one() {
    let canary = TcpListener::bind("127.0.0.1:0").unwrap();
    canary.set_nonblocking(true).unwrap();
    let url = format!("http://{}/keys", canary.local_addr().unwrap());
    let trial = RejectionTest::start().await;
    let (forge, claims) = tools(&trial);
    let stranger = TokenForger::with_key(&trial.app.cognito, SigningKey::Unpublished);
    let kid = forge.kid.clone();
    let headed = |name: &str, value: &Value| {
        let mut header = json!({"alg": "RS256", "kid": kid});
        header[name] = value.clone();
        [forge.token(header.to_string(), &claims), stranger.token(header.to_string(), &claims)]
    };
    let mut cases: Vec<Case<'_>> = Vec::new();
    let evil = format!("{}@{}", trial.app.cognito.issuer(), canary.local_addr().unwrap());
    for (case, name, value) in [
        ("A61 a key", "jwk", stranger.jwk(&kid)),
        ("A61 a secret", "jwk", json!({"kty": "oct", "k": "AAAA"})),
        ("A62 an address", "jku", json!(url)),
        ("A62 an address that looks like ours", "jku", json!(evil)),
        ("A62 a file", "jku", json!("file:///etc/passwd")),
        ("A62 the machine's metadata", "jku", json!("http://169.254.169.254/")),
        ("A62 a certificate's address", "x5u", json!(url)),
        ("A63 certificates", "x5c", json!(["MIIB"])),
        ("A63 a thumbprint", "x5t", json!("AAAA")),
        ("A63 a thumbprint", "x5t#S256", json!("AAAA")),
    ] {
        cases.extend(headed(name, &value).map(|token| (case, token, INVALID)));
    }
    // Neither the canary's address in a claim that could be one, nor in a name that nobody knows.
    for name in [
        "kid", "jwks_uri", "x5u", "url", "aud", "azp", "nonce", "sub_jwk", "cnf", "act", "picture", "website",
    ] {
        let mut more: Value = serde_json::from_str(&claims).unwrap();
        more[name] = json!(url);
        cases.push((
            "A64 an address among claims",
            stranger.token(json!({"alg": "RS256", "kid": kid}).to_string(), more.to_string()),
            INVALID,
        ));
    }
    trial.assert_rejected(cases).await;
    assert!(canary.accept().is_err(), "somebody called");
}

#[tokio::test]
async fn the_name_of_a_key_is_a_name_and_nothing_else() {
    let trial = RejectionTest::start().await;
    let (forge, claims) = tools(&trial);
    let named = |kid: Value| forge.token(json!({"alg": "RS256", "kid": kid}).to_string(), &claims);
    let mut cases: Vec<Case<'_>> =
        vec![("A65 no kid", forge.token(r#"{"alg":"RS256"}"#, &claims), MALFORMED)];
    for kid in [
        json!(null),
        json!(1),
        json!(""),
        json!(["a"]),
        json!("k".repeat(10_240)),
        json!(format!("{}\0", forge.kid)),
        json!({}),
    ] {
        cases.push(("A65 a kid that is none", named(kid), MALFORMED));
    }
    // Names of no key. That one may be a new one, and nobody is to be logged out over it, is the design's: not INVALID
    // while the last fetch is young.
    for kid in [
        "../../../../dev/null",
        "/dev/null",
        "C:\\",
        "%2e%2e/",
        "x' UNION SELECT '1';--",
        "|sleep 10",
        "${jndi:ldap://c}",
        "{{7*7}}",
        "k".repeat(128).as_str(),
    ] {
        cases.push(("A66 A67 A68 a kid that would be more", named(json!(kid)), "KEYS_UNAVAILABLE"));
    }
    for kid in ["a\r\nlevel=error", "\u{1b}[2J"] {
        cases.push(("A68 a kid for the log", named(json!(kid)), MALFORMED));
    }
    let id_key = trial.app.cognito.kid(SigningKey::Id);
    cases.push(("A69 the name of the pool's other key", named(json!(id_key)), INVALID));
    trial.assert_rejected(cases).await;
}

/// The pool's own key in a forger's hands, and the claims of a good token.
fn tools(trial: &RejectionTest) -> (TokenForger, String) {
    let claims = trial.app.cognito.access_claims("ada").unwrap();
    (TokenForger::with_key(&trial.app.cognito, SigningKey::Access), claims.to_string())
}

// RFC 8017, section 9.2, note 1: the names of hashes before a digest of 32 bytes.
const SHA256: [u8; 19] = [0x30, 0x31, 0x30, 0x0d, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1, 5, 0, 4, 0x20];
const SHA512_256: [u8; 19] =
    [0x30, 0x31, 0x30, 0x0d, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 6, 5, 0, 4, 0x20];
const SHA256_WITHOUT_NULL: [u8; 17] =
    [0x30, 0x2f, 0x30, 0x0b, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1, 4, 0x20];
const SHA256_LONG: [u8; 20] =
    [0x30, 0x81, 0x31, 0x30, 0x0d, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1, 5, 0, 4, 0x20];
