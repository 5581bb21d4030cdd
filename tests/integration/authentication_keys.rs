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
async fn only_rs256_is_accepted() {
    let test = RejectionTest::start().await;
    let (forger, claims) = forger_and_claims(&test);
    let kid = &forger.kid;
    let signed =
        |alg: Value| format!("{}.{}", encoded(json!({"alg": alg, "kid": kid}).to_string()), encoded(&claims));
    let mut cases: Vec<Case<'_>> = Vec::new();
    let signature = test.good.rsplit('.').next().unwrap().to_owned();
    for none in ["none", "None", "NONE", "nOnE"] {
        cases.push(("A44 none", format!("{}.", signed(json!(none))), MALFORMED));
        cases.push(("A45 none with a signature", format!("{}.{signature}", signed(json!(none))), MALFORMED));
        cases.push(("A45 none, signed", forger.sign(&signed(json!(none))), MALFORMED));
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
        cases.push(("A46 an invalid alg", forger.sign(&signed(alg)), MALFORMED));
    }
    cases.push(("A46 no alg", forger.token(json!({"kid": kid}).to_string(), &claims), MALFORMED));
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
            forger.sign_with(algorithm, &signed(json!(alg))),
            INVALID,
        ));
        cases.push((
            "A50 the same, called RS256",
            forger.sign_with(algorithm, &signed(json!("RS256"))),
            INVALID,
        ));
    }
    for alg in ["ES256", "ES384", "ES256K", "EdDSA"] {
        for signature in [[0; 64], [1; 64], [0xff; 64]] {
            cases.push((
                "A51 A52 an elliptic curve under the id of an RSA key",
                format!("{}.{}", signed(json!(alg)), encoded(signature)),
                INVALID,
            ));
        }
    }
    for alg in ["ML-DSA-65", "RS256K", "HS257"] {
        cases.push(("A53 another alg", forger.sign(&signed(json!(alg))), MALFORMED));
    }
    test.assert_rejected(cases).await;
}

#[tokio::test]
async fn an_hmac_under_any_secret_is_rejected() {
    let test = RejectionTest::start().await;
    let (forger, claims) = forger_and_claims(&test);
    let public = forger.pair().public_key();
    let x509: PublicKeyX509Der<'_> = public.as_der().unwrap();
    let pem = |label: &str, der: &[u8]| {
        let lines = STANDARD.encode(der).into_bytes();
        let lines: Vec<_> = lines.chunks(64).map(|line| String::from_utf8(line.to_vec()).unwrap()).collect();
        format!("-----BEGIN {label}-----\n{}\n-----END {label}-----", lines.join("\n"))
    };
    let (spki, pkcs1) = (pem("PUBLIC KEY", x509.as_ref()), pem("RSA PUBLIC KEY", public.as_ref()));
    let jwks = test.app.cognito.jwks();
    let n = forger.n.to_bytes_be();
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
                let header = json!({"alg": header, "kid": forger.kid}).to_string();
                let signed = format!("{}.{}", encoded(header), encoded(&claims));
                let tag = hmac::sign(&hmac::Key::new(algorithm, secret), signed.as_bytes());
                cases.push(("A47 A48 an HMAC", format!("{signed}.{}", encoded(tag)), INVALID));
            }
        }
    }
    test.assert_rejected(cases).await;
}

#[tokio::test]
async fn the_signature_must_cover_the_token_with_exact_pkcs1_padding() {
    let test = RejectionTest::start().await;
    let (forger, claims) = forger_and_claims(&test);
    let header = test.app.cognito.header(SigningKey::Access).to_string();
    let signed = format!("{}.{}", encoded(&header), encoded(&claims));
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, signed.as_bytes());
    let padded = |kind: u8, fill: u8, info: &[u8], behind: &[u8]| {
        let rest = 256 - 3 - info.len() - behind.len();
        [&[0, kind][..], &vec![fill; rest], &[0], info, behind].concat()
    };
    let info = |prefix: &[u8]| [prefix, digest.as_ref()].concat();
    let with = |signature: &[u8]| format!("{signed}.{}", encoded(signature));
    let good = padded(1, 0xff, &info(&SHA256), &[]);
    test.assert_accepted(vec![("A56 the control", with(&forger.raw(&good)))]).await;

    let (s, one) = (BigUint::from_bytes_be(&forger.raw(&good)), BigUint::from(1_u8));
    let n = &forger.n;
    let number = |number: &BigUint| with(&fixed(number));
    let mut cases: Vec<Case<'_>> = vec![
        ("A49 A57 zeros", with(&[0; 256]), INVALID),
        ("A57 one", number(&one), INVALID),
        ("A57 n - 1", number(&(n - &one)), INVALID),
        ("A57 n", number(n), INVALID),
        ("A57 n - s", number(&(n - &s)), INVALID),
        ("A57 a leading zero", with(&[&[0][..], &fixed(&s)].concat()), INVALID),
        ("A57 a trailing zero", with(&[&fixed(&s)[..], &[0]].concat()), INVALID),
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
        ("A56 with another fill byte", padded(1, 0xfe, &info(&SHA256), &[])),
        ("A56 with a gap", gap),
        (
            "A56 with bytes after the digest",
            [&[0, 1][..], &[0xff; 8], &[0], &info(&SHA256), &[0x5a; 194]].concat(),
        ),
        ("A56 without parameters", padded(1, 0xff, &info(&SHA256_WITHOUT_NULL), &[])),
        ("A56 with another hash's identifier", padded(1, 0xff, &info(&SHA512_256), &[])),
        ("A56 with a length of two bytes", padded(1, 0xff, &info(&SHA256_LONG), &[])),
        ("A56 the digest alone", padded(1, 0xff, digest.as_ref(), &[])),
    ] {
        assert_eq!(padded.len(), 256, "{case}");
        cases.push((case, with(&forger.raw(&padded)), INVALID));
    }
    let other = test.app.token("bob");
    let [_, body, signature] = other.split('.').collect::<Vec<_>>().try_into().unwrap();
    cases.push(("A59 the signature of another token", format!("{signed}.{signature}"), INVALID));
    cases.push((
        "A59 the claims of another token",
        format!("{}.{body}.{}", encoded(&header), encoded(fixed(&s))),
        INVALID,
    ));
    cases.push(("A49 no signature", format!("{signed}."), MALFORMED));
    let unpublished = TokenForger::with_key(&test.app.cognito, SigningKey::Unpublished);
    cases.push(("A60 another key under this key's id", unpublished.token(&header, &claims), INVALID));
    test.assert_rejected(cases).await;
}

#[tokio::test]
async fn a_token_cannot_bring_a_key_or_the_address_of_one() {
    let canary = TcpListener::bind("127.0.0.1:0").unwrap();
    canary.set_nonblocking(true).unwrap();
    let url = format!("http://{}/keys", canary.local_addr().unwrap());
    let test = RejectionTest::start().await;
    let (forger, claims) = forger_and_claims(&test);
    let unpublished = TokenForger::with_key(&test.app.cognito, SigningKey::Unpublished);
    let kid = forger.kid.clone();
    let with_header_field = |name: &str, value: &Value| {
        let mut header = json!({"alg": "RS256", "kid": kid});
        header[name] = value.clone();
        [forger.token(header.to_string(), &claims), unpublished.token(header.to_string(), &claims)]
    };
    let mut cases: Vec<Case<'_>> = Vec::new();
    let lookalike = format!("{}@{}", test.app.cognito.issuer(), canary.local_addr().unwrap());
    for (case, name, value) in [
        ("A61 a key", "jwk", unpublished.jwk(&kid)),
        ("A61 a secret", "jwk", json!({"kty": "oct", "k": "AAAA"})),
        ("A62 a URL", "jku", json!(url)),
        ("A62 a lookalike URL", "jku", json!(lookalike)),
        ("A62 a file", "jku", json!("file:///etc/passwd")),
        ("A62 the instance metadata service", "jku", json!("http://169.254.169.254/")),
        ("A62 a certificate URL", "x5u", json!(url)),
        ("A63 certificates", "x5c", json!(["MIIB"])),
        ("A63 a thumbprint", "x5t", json!("AAAA")),
        ("A63 a thumbprint", "x5t#S256", json!("AAAA")),
    ] {
        cases.extend(with_header_field(name, &value).map(|token| (case, token, INVALID)));
    }
    // Neither known nor unknown claims make the server fetch their URL.
    for name in [
        "kid", "jwks_uri", "x5u", "url", "aud", "azp", "nonce", "sub_jwk", "cnf", "act", "picture", "website",
    ] {
        let mut more: Value = serde_json::from_str(&claims).unwrap();
        more[name] = json!(url);
        cases.push((
            "A64 a URL as a claim",
            unpublished.token(json!({"alg": "RS256", "kid": kid}).to_string(), more.to_string()),
            INVALID,
        ));
    }
    test.assert_rejected(cases).await;
    assert!(canary.accept().is_err(), "the server connected to the URL of a token");
}

#[tokio::test]
async fn a_key_id_is_an_opaque_name() {
    let test = RejectionTest::start().await;
    let (forger, claims) = forger_and_claims(&test);
    let with_key_id = |kid: Value| forger.token(json!({"alg": "RS256", "kid": kid}).to_string(), &claims);
    let mut cases: Vec<Case<'_>> =
        vec![("A65 no kid", forger.token(r#"{"alg":"RS256"}"#, &claims), MALFORMED)];
    for kid in [
        json!(null),
        json!(1),
        json!(""),
        json!(["a"]),
        json!("k".repeat(10_240)),
        json!(format!("{}\0", forger.kid)),
        json!({}),
    ] {
        cases.push(("A65 an invalid kid", with_key_id(kid), MALFORMED));
    }
    // An unknown key id may be that of a new key. While the last fetch is recent the caller must
    // not be logged out, so the reason is not TOKEN_INVALID.
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
        cases.push(("A66 A67 A68 an injection as a kid", with_key_id(json!(kid)), "KEYS_UNAVAILABLE"));
    }
    for kid in ["a\r\nlevel=error", "\u{1b}[2J"] {
        cases.push(("A68 control characters in a kid", with_key_id(json!(kid)), MALFORMED));
    }
    let id_key = test.app.cognito.kid(SigningKey::Id);
    cases.push(("A69 the id of the pool's other key", with_key_id(json!(id_key)), INVALID));
    test.assert_rejected(cases).await;
}

/// Returns a forger with the pool's own key, and the claims of a valid token.
fn forger_and_claims(test: &RejectionTest) -> (TokenForger, String) {
    let claims = test.app.cognito.access_claims("ada").unwrap();
    (TokenForger::with_key(&test.app.cognito, SigningKey::Access), claims.to_string())
}

// RFC 8017, section 9.2, note 1: the DER prefixes of a digest of 32 bytes.
const SHA256: [u8; 19] = [0x30, 0x31, 0x30, 0x0d, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1, 5, 0, 4, 0x20];
const SHA512_256: [u8; 19] =
    [0x30, 0x31, 0x30, 0x0d, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 6, 5, 0, 4, 0x20];
const SHA256_WITHOUT_NULL: [u8; 17] =
    [0x30, 0x2f, 0x30, 0x0b, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1, 4, 0x20];
const SHA256_LONG: [u8; 20] =
    [0x30, 0x81, 0x31, 0x30, 0x0d, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1, 5, 0, 4, 0x20];
