use cognito_standin::SigningKey;
use serde_json::json;

use crate::support::forged_tokens::{Case, RejectionTest, TokenForger, encoded};

const MALFORMED: &str = "TOKEN_MALFORMED";
const INVALID: &str = "TOKEN_INVALID";
const WRONG_TYPE: &str = "TOKEN_WRONG_TYPE";

#[tokio::test]
async fn only_the_compact_serialization_is_accepted() {
    let test = RejectionTest::start().await;
    let good = test.good.clone();
    let [h, p, s] = good.split('.').collect::<Vec<_>>().try_into().unwrap();
    let json = json!({"payload": p, "protected": h, "signature": s});
    let general = json!({"payload": p, "signatures": [{"protected": h, "signature": s}]});
    let dots = ".".repeat(32 * 1024);
    test.assert_rejected(malformed([
        ("A18 one segment", h.to_owned()),
        ("A18 two segments", format!("{h}.{p}")),
        ("A18 four segments", format!("{good}.{s}")),
        ("A18 six segments", format!("{good}.{good}")),
        ("A19 a dot before", format!(".{good}")),
        ("A19 a dot after", format!("{good}.")),
        ("A19 no payload", format!("{h}..{s}")),
        ("A19 only dots", "...".to_owned()),
        ("A20 a dot bomb", dots),
        ("A21 no header", format!(".{p}.{s}")),
        ("A21 no signature", format!("{h}.{p}.")),
        ("A22 flattened JSON", json.to_string()),
        ("A22 general JSON", general.to_string()),
        ("A23 a line end", format!("{good}\n")),
        ("A23 a space before", format!(" {good}")),
        ("A23 a space within", format!("{h} .{p}.{s}")),
        ("A24 a padded header", format!("{h}=.{p}.{s}")),
        ("A24 a padded payload", format!("{h}.{p}==.{s}")),
        ("A24 a padded signature", format!("{good}==")),
        ("A25 the standard alphabet", format!("{h}.{p}.{}", with_standard_alphabet(s))),
        ("A27 a question mark", format!("{h}?.{p}.{s}")),
        ("A27 a hash", format!("{h}.{p}#.{s}")),
        ("A27 an escape", format!("{h}%2E{p}.{s}")),
        ("A27 a NUL", format!("{h}.{p}\0.{s}")),
        ("A27 another script", format!("{h}.{p}Ａ.{s}")),
        ("A27 an emoji", format!("{h}.{p}🙂.{s}")),
        (
            "A38 five segments, like a JWE",
            format!("{}.a.b.c.d", encoded(r#"{"alg":"RSA-OAEP","enc":"A256GCM"}"#)),
        ),
        (
            "A39 a costly JWE",
            format!("{}.a.b.c.d", encoded(r#"{"alg":"PBES2-HS256+A128KW","p2c":2147483647,"zip":"DEF"}"#)),
        ),
        (
            "A101 a refresh token",
            format!("{}.{s}.{s}.{s}.{s}", encoded(r#"{"cty":"JWT","enc":"A256GCM","alg":"RSA-OAEP"}"#)),
        ),
        ("A101 a code", "3f0a4d52-1f3e-4c29-9f2f-0123456789ab".to_owned()),
        ("A13 over the limit", format!("{h}.{}.{s}", "A".repeat(32 * 1024))),
    ]))
    .await;
}

#[tokio::test]
async fn base64url_must_be_canonical_even_with_a_valid_signature() {
    let test = RejectionTest::start().await;
    let forger = TokenForger::with_key(&test.app.cognito, SigningKey::Access);
    let good = test.good.clone();
    let [h, p, s] = good.split('.').collect::<Vec<_>>().try_into().unwrap();
    // 31 bytes of base64url leave two unused bits in the last character.
    let header = format!(r#"{{"alg":"RS256","kid":"{}"}}"#, forger.kid);
    let header = encoded(format!("{header}{}", " ".repeat((4 - header.len() % 3) % 3)));
    let claims = test.app.cognito.access_claims("ada").unwrap().to_string();
    let claims = encoded(format!("{claims}{}", " ".repeat((4 - claims.len() % 3) % 3)));
    test.assert_accepted(vec![("A26 the control", forger.sign(&format!("{header}.{claims}")))]).await;
    test.assert_rejected(malformed([
        ("A26 unused bits of the signature", format!("{h}.{p}.{}", with_unused_bits(s))),
        ("A26 unused bits of the header", forger.sign(&format!("{}.{claims}", with_unused_bits(&header)))),
        ("A26 unused bits of the payload", forger.sign(&format!("{header}.{}", with_unused_bits(&claims)))),
        ("A24 a padded header, signed", forger.sign(&format!("{header}==.{claims}"))),
        ("A24 a padded payload, signed", forger.sign(&format!("{header}.{claims}=="))),
        (
            "A25 the standard alphabet, signed",
            forger.sign(&format!(
                "{header}.{}",
                encoded(r#"{"sub":"???>>>~~~"}"#).replace('_', "/").replace('-', "+")
            )),
        ),
        ("A23 a space, signed", forger.sign(&format!("{header} .{claims}"))),
    ]))
    .await;
}

#[tokio::test]
async fn bytes_after_the_signature_belong_to_it() {
    let test = RejectionTest::start().await;
    let good = test.good.clone();
    let with_suffix = |suffix: &str| format!("{good}{suffix}");
    test.assert_rejected(vec![
        ("A28 a byte", with_suffix("A"), INVALID),
        ("A28 two bytes", with_suffix("AA"), INVALID),
        ("A28 a partial byte", with_suffix("AAA"), MALFORMED),
        ("A28 three bytes", with_suffix("AAAA"), INVALID),
        ("A28 a second token", with_suffix(&good), MALFORMED),
    ])
    .await;
}

#[tokio::test]
async fn header_and_claims_must_be_json_objects() {
    let test = RejectionTest::start().await;
    let forger = TokenForger::with_key(&test.app.cognito, SigningKey::Access);
    let claims = test.app.cognito.access_claims("ada").unwrap().to_string();
    let header = test.app.cognito.header(SigningKey::Access).to_string();
    let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>();
    let deep = |open: &str| open.repeat(8_000).into_bytes();
    let mut cases = Vec::new();
    for (case, bad) in [
        ("A29 text", b"text".to_vec()),
        ("A29 truncated", header.as_bytes()[..20].to_vec()),
        ("A29 trailing text", format!("{header} x").into_bytes()),
        ("A29 a byte order mark", format!("\u{feff}{header}").into_bytes()),
        ("A29 UTF-16", utf16(&header)),
        ("A29 a comment", format!("/**/{header}").into_bytes()),
        ("A29 NaN", header.replacen('{', r#"{"a":NaN,"#, 1).into_bytes()),
        ("A30 an array", b"[]".to_vec()),
        ("A30 a string", b"\"x\"".to_vec()),
        ("A30 a number", b"1".to_vec()),
        ("A30 null", b"null".to_vec()),
        ("A30 true", b"true".to_vec()),
        ("A30 the fields as an array", format!(r#"["RS256","{}"]"#, forger.kid).into_bytes()),
        (
            "A31 invalid UTF-8",
            [&b"{\"alg\":\"RS256\",\"kid\":\"\xc0\xaf\","[..], &header.as_bytes()[1..]].concat(),
        ),
        ("A32 deep arrays", deep("[")),
        ("A32 deep objects", deep(r#"{"a":"#)),
    ] {
        cases.push((case, forger.token(&bad, &claims), MALFORMED));
        // The same text as the payload.
        let payload =
            String::from_utf8(bad).map_or_else(|_| b"{\"sub\":\"\xc0\xaf\"}".to_vec(), String::into_bytes);
        cases.push((case, forger.token(&header, payload), MALFORMED));
    }
    let surrogate = claims.replacen(r#""ada""#, r#""\ud800""#, 1);
    cases.push(("A31 a lone surrogate in a claim", forger.token(&header, surrogate), MALFORMED));
    let typ = header.replacen('{', r#"{"typ":"\ud800","#, 1);
    cases.push(("A31 a lone surrogate in the header", forger.token(typ, &claims), MALFORMED));
    test.assert_rejected(cases).await;
}

#[tokio::test]
async fn text_that_is_not_unicode_is_rejected_where_it_is_not_read_too() {
    let test = RejectionTest::start().await;
    let forger = TokenForger::with_key(&test.app.cognito, SigningKey::Access);
    let claims = test.app.cognito.access_claims("ada").unwrap().to_string();
    let header = test.app.cognito.header(SigningKey::Access).to_string();
    let with = |text: &str, member: &[u8]| [b"{", member, b",", &text.as_bytes()[1..]].concat();
    let controls: [(&str, &[u8]); 3] = [
        ("A31 another script", "\"x\":\"\u{e9}\u{10348}\"".as_bytes()),
        ("A31 a surrogate pair", br#""x":"\ud800\udf48""#),
        ("A31 an escaped backslash", br#""x":"\\ud800""#),
    ];
    for (case, member) in controls {
        let [head, body] = [&header, &claims].map(|text| with(text, member));
        test.assert_accepted(vec![(case, forger.token(head, body))]).await;
    }
    let mut cases = Vec::new();
    let bad: [(&str, &[u8]); 9] = [
        ("A31 an overlong slash", b"\"x\":\"\xc0\xaf\""),
        ("A31 a stray byte", b"\"x\":\"\xff\""),
        ("A31 a byte that is cut off", b"\"x\":\"\xc3\""),
        ("A31 a name", b"\"\xc0\xaf\":1"),
        ("A31 deep within", b"\"x\":{\"y\":[1,\"\xed\xa0\x80\"]}"),
        ("A31 half of a pair", br#""x":"\ud800""#),
        ("A31 the other half", br#""x":["\udc00"]"#),
        ("A31 half of a pair in a name", br#""\ud800":1"#),
        ("A33 A34 a member twice", br#""x":1,"x":1"#),
    ];
    for (case, member) in bad {
        cases.push((case, forger.token(with(&header, member), &claims), MALFORMED));
        cases.push((case, forger.token(&header, with(&claims, member)), MALFORMED));
    }
    test.assert_rejected(cases).await;
}

#[tokio::test]
async fn duplicate_fields_are_rejected() {
    let test = RejectionTest::start().await;
    let forger = TokenForger::with_key(&test.app.cognito, SigningKey::Access);
    let claims = test.app.cognito.access_claims("ada").unwrap();
    let header = test.app.cognito.header(SigningKey::Access).to_string();
    let first = |text: &str, added: &str| text.replacen('{', &format!("{{{added},"), 1);
    let last = |text: &str, added: &str| format!("{},{added}}}", &text[..text.len() - 1]);
    let mut cases = vec![
        (
            "A33 none, then RS256",
            forger.token(first(&header, r#""alg":"none""#), claims.to_string()),
            MALFORMED,
        ),
        (
            "A33 RS256, then none",
            forger.token(last(&header, r#""alg":"none""#), claims.to_string()),
            MALFORMED,
        ),
        ("A33 RS256 twice", forger.token(last(&header, r#""alg":"RS256""#), claims.to_string()), MALFORMED),
        (
            "A33 an escaped name",
            forger.token(last(&header, r#""\u0061lg":"RS256""#), claims.to_string()),
            MALFORMED,
        ),
        ("A33 two kids", forger.token(last(&header, r#""kid":"k2""#), claims.to_string()), MALFORMED),
    ];
    for name in
        ["sub", "iss", "client_id", "token_use", "exp", "nbf", "iat", "scope", "username", "cognito:groups"]
    {
        let value = claims.get(name).cloned().unwrap_or_else(|| match name {
            "cognito:groups" => json!(["staff"]),
            _ => claims["iat"].clone(),
        });
        let mut whole = claims.clone();
        whole[name] = value.clone();
        let other = if value.is_number() { json!(1) } else { json!("other") };
        let escaped = format!(r#""\u{:04x}{}""#, u32::from(name.as_bytes()[0]), &name[1..]);
        for added in
            [format!(r#""{name}":{other}"#), format!(r#""{name}":{value}"#), format!("{escaped}:{value}")]
        {
            for text in [first(&whole.to_string(), &added), last(&whole.to_string(), &added)] {
                cases.push((name, forger.token(&header, text), MALFORMED));
            }
        }
    }
    test.assert_rejected(cases).await;
}

#[tokio::test]
async fn unknown_claims_are_ignored() {
    let test = RejectionTest::start().await;
    let forger = TokenForger::with_key(&test.app.cognito, SigningKey::Access);
    let claims = test.app.cognito.access_claims("ada").unwrap();
    let header = test.app.cognito.header(SigningKey::Access).to_string();
    let with = |name: &str, value| {
        let mut claims = claims.clone();
        claims[name] = value;
        forger.token(&header, claims.to_string())
    };
    let wide: serde_json::Map<_, _> = (0..1_000).map(|n| (format!("claim-{n}"), json!(n))).collect();
    let digits = claims.to_string().replacen('{', &format!("{{\"n\":{},", "9".repeat(1_000)), 1);
    test.assert_accepted(vec![
        ("A36 wide", with("wide", wide.into())),
        ("A36 long", with("long", json!("x".repeat(20_000)))),
        ("A36 an array", with("deep", json!([[[[["x"]]]]]))),
        ("A36 a number of 1,000 digits", forger.token(&header, digits)),
        ("A42 no typ", with("x", json!(1))),
    ])
    .await;
}

#[tokio::test]
async fn headers_that_require_other_processing_are_rejected() {
    let test = RejectionTest::start().await;
    let forger = TokenForger::with_key(&test.app.cognito, SigningKey::Access);
    let claims = test.app.cognito.access_claims("ada").unwrap().to_string();
    let header = test.app.cognito.header(SigningKey::Access);
    let with = |name: &str, value| {
        let mut header = header.clone();
        header[name] = value;
        forger.token(header.to_string(), &claims)
    };
    test.assert_accepted(vec![
        ("A42 JWT", with("typ", json!("JWT"))),
        ("A42 at+jwt", with("typ", json!("at+jwt"))),
        ("A42 application/at+jwt", with("typ", json!("application/at+jwt"))),
    ])
    .await;
    let nested =
        forger.token(json!({"alg": "RS256", "kid": forger.kid, "cty": "JWT"}).to_string(), &test.good);
    let mut cases = vec![
        ("A37 a nested token", nested, MALFORMED),
        ("A37 cty alone", with("cty", json!("JWT")), MALFORMED),
        ("A40 b64", with("b64", json!(false)), INVALID),
        ("A43 a number", with("typ", json!(1)), WRONG_TYPE),
    ];
    for crit in [json!(["exp"]), json!([]), json!(["x"]), json!("exp"), json!(["b64", "b64"]), json!(null)] {
        cases.push(("A41 crit", with("crit", crit), INVALID));
    }
    for typ in ["logout+jwt", "secevent+jwt", "dpop+jwt", "id_token+jwt", "JOSE", "jwt ", ""] {
        cases.push(("A43 another type", with("typ", json!(typ)), WRONG_TYPE));
    }
    test.assert_rejected(cases).await;
}

fn malformed<'a, const N: usize>(cases: [(&'a str, String); N]) -> Vec<Case<'a>> {
    cases.map(|(case, token)| (case, token, MALFORMED)).into()
}

/// Rewrites a part in the standard alphabet, which has `+` and `/`.
fn with_standard_alphabet(part: &str) -> String {
    let with_standard_alphabet = part.replace('-', "+").replace('_', "/");
    assert_ne!(with_standard_alphabet, part, "nearly every signature of 342 characters has a `-` or `_`");
    with_standard_alphabet
}

/// Changes the last character to one that decodes to the same bytes, because it differs in unused
/// bits only.
fn with_unused_bits(part: &str) -> String {
    // While the unused bits are zero, the next character of the alphabet is also the next one of
    // ASCII.
    let last = part.as_bytes()[part.len() - 1] + 1;
    format!("{}{}", &part[..part.len() - 1], char::from(last))
}
