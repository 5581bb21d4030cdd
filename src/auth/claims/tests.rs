use std::time::{Duration, UNIX_EPOCH};

use serde_json::json;

use super::*;

#[test]
fn only_rs256_headers_with_a_key_id_are_accepted() {
    let good = json!({"alg": "RS256", "kid": "k1"});
    let edit = |name: &str, value: Value| {
        let mut header = good.clone();
        header[name] = value;
        header.to_string()
    };
    let raw = |text: &str| text.to_owned();
    let ok = Ok(());
    let table = [
        (good.to_string(), ok),
        (edit("typ", json!("JWT")), ok),
        (edit("typ", json!("at+JWT")), ok),
        (edit("unknown", json!({"a": [1]})), ok),
        (edit("kid", json!("a/b+c=")), ok),
        (edit("typ", json!("logout+jwt")), Err(Rejected::WrongType)),
        (edit("typ", json!(7)), Err(Rejected::WrongType)),
        (edit("alg", json!("none")), Err(Rejected::Malformed)),
        (edit("alg", json!("rs256")), Err(Rejected::Malformed)),
        (edit("alg", json!("RS256 ")), Err(Rejected::Malformed)),
        (edit("alg", json!(null)), Err(Rejected::Malformed)),
        (edit("alg", json!(["RS256"])), Err(Rejected::Malformed)),
        (edit("alg", json!("ML-DSA-65")), Err(Rejected::Malformed)),
        (edit("alg", json!("HS256")), Err(Rejected::Invalid(InvalidReason::Algorithm))),
        (edit("alg", json!("RS384")), Err(Rejected::Invalid(InvalidReason::Algorithm))),
        (edit("alg", json!("PS256")), Err(Rejected::Invalid(InvalidReason::Algorithm))),
        (edit("alg", json!("ES256")), Err(Rejected::Invalid(InvalidReason::Algorithm))),
        (edit("crit", json!(["exp"])), Err(Rejected::Invalid(InvalidReason::Header))),
        (edit("crit", json!([])), Err(Rejected::Invalid(InvalidReason::Header))),
        (edit("crit", json!(null)), Err(Rejected::Invalid(InvalidReason::Header))),
        (edit("b64", json!(false)), Err(Rejected::Invalid(InvalidReason::Header))),
        (edit("jwk", json!({"kty": "RSA"})), Err(Rejected::Invalid(InvalidReason::Header))),
        (edit("jku", json!("https://example.com")), Err(Rejected::Invalid(InvalidReason::Header))),
        (edit("x5u", json!("https://example.com")), Err(Rejected::Invalid(InvalidReason::Header))),
        (edit("x5c", json!([])), Err(Rejected::Invalid(InvalidReason::Header))),
        (edit("x5t", json!("a")), Err(Rejected::Invalid(InvalidReason::Header))),
        (edit("x5t#S256", json!("a")), Err(Rejected::Invalid(InvalidReason::Header))),
        (edit("cty", json!("JWT")), Err(Rejected::Malformed)),
        (edit("kid", json!("")), Err(Rejected::Malformed)),
        (edit("kid", json!("k".repeat(129))), Err(Rejected::Malformed)),
        (edit("kid", json!(1)), Err(Rejected::Malformed)),
        (raw(r#"{"alg":"RS256"}"#), Err(Rejected::Malformed)),
        (raw(r#"{"kid":"k1"}"#), Err(Rejected::Malformed)),
        (raw(r#"{"alg":"RS256","alg":"RS256","kid":"k1"}"#), Err(Rejected::Malformed)),
        (raw(r#"{"alg":"RS256","kid":"k1","kid":"k2"}"#), Err(Rejected::Malformed)),
        (raw(r#"{"alg":"RS256","\u0061lg":"none","kid":"k1"}"#), Err(Rejected::Malformed)),
        (raw(r#"["RS256","k1"]"#), Err(Rejected::Malformed)),
        (raw(r#"{"alg":"RS256","kid":"k1"} x"#), Err(Rejected::Malformed)),
        (raw("\u{feff}{\"alg\":\"RS256\",\"kid\":\"k1\"}"), Err(Rejected::Malformed)),
        (raw("null"), Err(Rejected::Malformed)),
        (raw(""), Err(Rejected::Malformed)),
        (r#"{"a":"#.repeat(10_000), Err(Rejected::Malformed)),
        (edit("kid", json!("k\u{0}")), Err(Rejected::Malformed)),
    ];
    for (header, expected) in table {
        let checked = json::<Header>(&URL_SAFE_NO_PAD.encode(&header)).and_then(|header| header.check());
        assert_eq!(checked, expected, "{header}");
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn invalid_claims_are_rejected_with_their_reason() {
    let edit = |name: &str, value: Value| {
        let mut claims = good();
        claims[name] = value;
        claims.to_string()
    };
    let without = |name: &str| {
        let mut claims = good();
        claims.as_object_mut().unwrap().remove(name);
        claims.to_string()
    };
    let twice =
        |name: &str, value: &str| good().to_string().replacen('{', &format!("{{\"{name}\":{value},"), 1);
    let (expired, early, malformed, wrong) =
        (Rejected::Expired, Rejected::NotYetValid, Rejected::Malformed, Rejected::WrongType);
    let [issuer, client, subject, lifetime] =
        [InvalidReason::Issuer, InvalidReason::Client, InvalidReason::Subject, InvalidReason::Lifetime]
            .map(Rejected::Invalid);
    let table = [
        (edit("iss", json!(format!("{ISSUER}/"))), issuer),
        (edit("iss", json!(ISSUER.to_uppercase())), issuer),
        (edit("iss", json!([ISSUER])), issuer),
        (without("iss"), issuer),
        (edit("client_id", json!("client2")), client),
        (edit("client_id", json!("client")), client),
        (edit("client_id", json!(["client1"])), client),
        (edit("client_id", json!("")), client),
        (without("client_id"), client),
        (edit("token_use", json!("id")), Rejected::IdToken),
        (edit("token_use", json!("Access")), wrong),
        (edit("token_use", json!("access ")), wrong),
        (edit("token_use", json!(["access"])), wrong),
        (edit("token_use", json!("refresh")), wrong),
        (without("token_use"), wrong),
        (edit("sub", json!("")), subject),
        (edit("sub", json!(7)), subject),
        (edit("sub", json!("a\" or sub ^= \"")), subject),
        (edit("sub", json!("s".repeat(129))), subject),
        (without("sub"), subject),
        (edit("username", json!("")), subject),
        (edit("username", json!(7)), subject),
        (edit("username", json!("u".repeat(129))), subject),
        (edit("exp", json!(NOW - 11)), expired),
        (edit("exp", json!(NOW - 10)), expired),
        (edit("exp", json!(0)), expired),
        (edit("exp", json!(NOW + 86_411)), lifetime),
        (edit("iat", json!(NOW + 3600 - 86_411)), lifetime),
        (edit("exp", json!(u64::MAX)), lifetime),
        (without("exp"), lifetime),
        (edit("exp", json!(null)), lifetime),
        (edit("exp", json!("1999999999")), malformed),
        (edit("exp", json!(-1)), expired),
        (edit("exp", json!(-1e300)), expired),
        (edit("exp", json!(1.5)), expired),
        (edit("exp", json!(NOW as f64 - 10.5)), expired),
        (edit("exp", json!(NOW as f64 + 86_410.5)), lifetime),
        (edit("exp", json!(1e300)), lifetime),
        (edit("exp", json!(true)), malformed),
        (edit("exp", json!([NOW])), malformed),
        (good().to_string().replace(&(NOW + 3600).to_string(), "99999999999999999999999"), lifetime),
        (good().to_string().replace(&(NOW + 3600).to_string(), "1e999"), malformed),
        (edit("nbf", json!(NOW + 11)), early),
        (edit("nbf", json!("1")), malformed),
        (edit("iat", json!(NOW + 11)), early),
        (edit("nbf", json!(NOW as f64 + 10.5)), early),
        (edit("nbf", json!(1e300)), early),
        (edit("iat", json!(NOW as f64 + 10.5)), early),
        (edit("iat", json!(1.5)), lifetime),
        (edit("iat", json!(null)), lifetime),
        (without("iat"), lifetime),
        (twice("email", "1").replace('}', ",\"email\":2}"), malformed),
        (twice("sub", "\"abc\""), malformed),
        (twice("exp", "1"), malformed),
        (twice("scope", "\"openid\""), malformed),
        (twice("iss", "\"x\""), malformed),
        (twice("client_id", "\"client1\""), malformed),
        (twice("token_use", "\"access\""), malformed),
        (
            edit("cognito:groups", json!(["staff"])).replacen('{', "{\"cognito:groups\":[\"staff\"],", 1),
            malformed,
        ),
        ("[]".to_owned(), malformed),
        ("null".to_owned(), malformed),
        (format!("{}x", good()), malformed),
    ];
    for (claims, rejected) in table {
        assert_eq!(check(&claims), Err(rejected), "{claims}");
    }
}

#[test]
fn valid_claims_are_accepted_whatever_the_others() {
    let edit = |name: &str, value: Value| {
        let mut claims = good();
        claims[name] = value;
        check(&claims.to_string()).unwrap()
    };
    let identity = check(&good().to_string()).unwrap();
    let user = identity.user.as_deref().unwrap();
    assert_eq!((user.sub.as_str(), user.username.as_str()), ("abc", "ada"));
    for same in [
        edit("iss", json!(ISSUER.replace("cognito-idp", "issuer-cognito-idp"))),
        edit("aud", json!("https://api.example.com")),
        edit("email", json!({"nested": ["x"]})),
        edit("exp", json!(NOW - 9)),
        edit("exp", json!(NOW + 86_410)),
        edit("nbf", json!(NOW + 10)),
        edit("origin_jti", json!({"odd": true})),
        edit("exp", json!(NOW as f64 + 3600.75)),
        edit("nbf", json!(NOW as f64 + 9.5)),
        edit("nbf", json!(-1)),
    ] {
        assert_eq!(same, identity);
    }
    for issued_at in [(NOW + 3600 - 86_410) as f64, (NOW + 10) as f64, NOW as f64 - 0.25] {
        let issued = edit("iat", json!(issued_at)).user.unwrap();
        let issued_at = UNIX_EPOCH + Duration::from_secs_f64(issued_at);
        assert_eq!(*issued, TokenUser { issued_at, ..user.clone() });
    }
}

#[test]
fn a_scope_must_equal_one_of_the_token() {
    let scopes = |scope: Value| {
        let mut claims = good();
        claims["scope"] = scope;
        check(&claims.to_string()).unwrap().client.scopes.clone()
    };
    for (scope, wanted, has) in [
        (json!("openid"), "openid", true),
        (json!("a user-lookup/read b"), "user-lookup/read", true),
        (json!("user-lookup/readers"), "user-lookup/read", false),
        (json!("User-Lookup/read"), "user-lookup/read", false),
        (json!(["user-lookup/read"]), "user-lookup/read", false),
        (json!(null), "user-lookup/read", false),
    ] {
        assert_eq!(scopes(scope.clone()).has(wanted), has, "{scope} {wanted}");
    }
}

#[test]
fn groups_are_read_from_the_token_or_unknown() {
    let groups = |claim: Option<Value>| {
        let mut claims = good();
        if let Some(claim) = claim {
            claims["cognito:groups"] = claim;
        }
        let user = check(&claims.to_string()).unwrap().user.unwrap();
        user.groups.as_ref().map(|groups| groups.names().map(str::to_owned).collect::<Vec<_>>())
    };
    assert_eq!(groups(Some(json!(["staff", "\u{e9}quipe"]))).unwrap(), ["staff", "\u{e9}quipe"]);
    assert_eq!(groups(Some(json!(vec!["g"; 100]))).unwrap().len(), 100);
    for none in [None, Some(json!(null)), Some(json!([]))] {
        assert!(groups(none).unwrap().is_empty());
    }
    // What a pre-token-generation trigger may write.
    for odd in [
        json!("staff"),
        json!({"staff": true}),
        json!(["staff", 7]),
        json!([["staff"]]),
        json!(["staff", ""]),
        json!(["a b"]),
        json!(["g".repeat(129)]),
        json!(vec!["g"; 101]),
        json!(7),
        json!(false),
    ] {
        assert_eq!(groups(Some(odd.clone())), None, "{odd}: none is believed");
    }
}

#[test]
fn a_token_without_a_user_is_a_machine_token() {
    let mut claims = good();
    claims.as_object_mut().unwrap().remove("username");
    assert_eq!(check(&claims.to_string()).unwrap().user, None);
    let mut claims = good();
    claims["sub"] = json!("client1");
    assert_eq!(check(&claims.to_string()).unwrap().user, None);
}

#[test]
fn an_undecodable_signature_is_malformed_before_any_key_lookup() {
    let [header, claims] =
        [json!({"alg": "RS256", "kid": "k1"}), good()].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    let read = |signature: &str| {
        let token = format!("{header}.{claims}.{signature}");
        Unverified::read(token.as_bytes()).map(|unverified| unverified.unverified_key_id().to_owned())
    };
    assert_eq!(read("AAAA"), Ok("k1".to_owned()));
    for bad in ["A", "AAAAA", "AB", "AAB"] {
        assert_eq!(read(bad), Err(Rejected::Malformed), "{bad}");
    }
}

fn check(claims: &str) -> Result<TokenIdentity, Rejected> {
    let claims: Claims = json(&URL_SAFE_NO_PAD.encode(claims))?;
    Ok(claims.check(&Pool::for_test("eu-west-1_A"), DAY, UNIX_EPOCH + Duration::from_secs(NOW))?.0)
}

fn good() -> Value {
    json!({
        "sub": "abc", "iss": ISSUER, "client_id": "client1", "token_use": "access", "username": "ada",
        "scope": "openid", "exp": NOW + 3600, "iat": NOW, "auth_time": NOW, "jti": "x", "version": 2,
    })
}

const ISSUER: &str = "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_A";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const NOW: u64 = 1_790_000_000;
