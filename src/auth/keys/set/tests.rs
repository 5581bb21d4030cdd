use serde_json::{Value, json};

use super::*;

#[test]
fn usable_keys_are_kept_and_others_skipped() {
    let good = jwk("good", &modulus(2048, 1));
    let table = [
        ("another type", edit("kty", json!("AKP"))),
        ("symmetric", json!({"kty": "oct", "kid": "x", "k": "AAAA"})),
        ("no modulus", json!({"kty": "RSA", "kid": "x", "e": "AQAB"})),
        ("no key id", json!({"kty": "RSA", "n": modulus(2048, 1), "e": "AQAB"})),
        ("empty key id", edit("kid", json!(""))),
        ("long key id", edit("kid", json!("k".repeat(129)))),
        ("for encryption", edit("use", json!("enc"))),
        ("operations without verify", edit("key_ops", json!(["encrypt"]))),
        ("another algorithm", edit("alg", json!("RS512"))),
        ("number for an exponent", edit("e", json!(65537))),
        ("exponent 3", edit("e", json!("Aw"))),
        ("exponent 1", edit("e", json!("AQ"))),
        ("2040 bits", edit("n", json!(modulus(2040, 1)))),
        ("8200 bits", edit("n", json!(modulus(8200, 1)))),
        ("zero-padded", edit("n", json!(encode(&[&[0], raw_modulus(2048, 1).as_slice()].concat())))),
        ("base64 padding", edit("n", json!(format!("{}==", modulus(2048, 1))))),
        ("even", edit("n", json!(modulus(2048, 2)))),
        ("zero", edit("n", json!("AA"))),
        ("operations of another type", edit("key_ops", json!("verify"))),
        ("not an object", json!(7)),
    ];
    for (case, other) in table {
        let set = parse(&json!({"keys": [other, good]})).unwrap();
        assert_eq!(set.len(), 1, "{case}");
        assert!(set.key("good").is_some(), "{case}");
        let id = other["kid"].as_str().unwrap_or("unknown");
        assert_eq!(set.has_unusable(id), other["kid"].is_string(), "{case}");
        assert!(!set.has_unusable("good") && set.key(id).is_none(), "{case}");
    }
    for key in [
        jwk("a", &modulus(8192, 1)),
        edit("alg", Value::Null),
        edit("use", Value::Null),
        edit("x5c", json!("a text where a list belongs")),
        edit("x5t", json!([7])),
        edit("x5t#S256", json!({})),
        edit("x5u", json!(false)),
        edit("oth", json!("other primes")),
        edit("ext", json!({"nested": [1, 2]})),
    ] {
        assert_eq!(parse(&json!({"keys": [key]})).unwrap().len(), 1);
    }
}

#[test]
fn different_keys_with_one_id_are_dropped() {
    let (one, two) = (jwk("k", &modulus(2048, 1)), jwk("k", &modulus(2048, 3)));
    assert_eq!(parse(&json!({"keys": [one, two]})).unwrap_err(), InvalidSet::Empty);
    assert_eq!(parse(&json!({"keys": [one, two, one, jwk("other", &modulus(2048, 1))]})).unwrap().len(), 1);
    let set = parse(&json!({"keys": [one, two, jwk("other", &modulus(2048, 1))]})).unwrap();
    assert!(set.has_unusable("k"), "its tokens are invalid");
    assert_eq!(parse(&json!({"keys": [one, one]})).unwrap().len(), 1, "the same key twice is one key");
    let signing_and_not = json!({"keys": [one, edit("kid", json!("k")), {"kid": "k", "use": "enc"}]});
    assert!(parse(&signing_and_not).unwrap().key("k").is_some(), "an unusable key hides no usable one");
}

#[test]
fn a_key_with_a_member_twice_is_unusable() {
    let (good, n) = (jwk("good", &modulus(2048, 1)), modulus(2048, 1));
    for (case, member) in [
        ("an equal one", r#""e":"AQAB""#.to_owned()),
        ("another purpose", r#""use":"enc""#.to_owned()),
        ("another modulus", format!(r#""n":"{}""#, modulus(2048, 3))),
        ("a member that is not read", r#""x5c":[],"x5c":[]"#.to_owned()),
        ("an escaped name", format!(r#""\u006e":"{n}""#)),
    ] {
        let twice = jwk("twice", &n).to_string().replacen('{', &format!("{{{member},"), 1);
        let set = KeySet::parse(format!(r#"{{"keys":[{twice},{good}]}}"#).as_bytes()).unwrap();
        assert_eq!((set.len(), set.has_unusable("twice")), (1, true), "{case}");
    }
    let ids = jwk("a", &n).to_string().replacen('{', r#"{"kid":"b","#, 1);
    let set = KeySet::parse(format!(r#"{{"keys":[{ids},{good}]}}"#).as_bytes()).unwrap();
    assert!(set.key("a").is_none() && set.key("b").is_none());
}

#[test]
fn an_invalid_key_set_is_refused() {
    for body in ["", "<html>", "{}", "[]", "null", "{\"keys\":{}}", "{\"keys\":[]} x", "[[]]"] {
        assert_eq!(KeySet::parse(body.as_bytes()).unwrap_err(), InvalidSet::Syntax, "{body}");
    }
    let with_unknown_member = format!(r#"{{"keys":[{}],"note":"?"}}"#, jwk("k", &modulus(2048, 1)));
    let not_utf8: Vec<_> =
        with_unknown_member.bytes().map(|byte| if byte == b'?' { 0xff } else { byte }).collect();
    assert!(KeySet::parse(with_unknown_member.as_bytes()).is_ok());
    assert_eq!(KeySet::parse(&not_utf8).unwrap_err(), InvalidSet::Syntax);
    assert_eq!(parse(&json!({"keys": []})).unwrap_err(), InvalidSet::Empty);
    let many = vec![jwk("k", &modulus(2048, 1)); 33];
    assert_eq!(parse(&json!({"keys": many})).unwrap_err(), InvalidSet::TooMany);
}

fn parse(document: &Value) -> Result<KeySet, InvalidSet> {
    KeySet::parse(document.to_string().as_bytes())
}

fn jwk(kid: &str, n: &str) -> Value {
    json!({"alg": "RS256", "e": "AQAB", "kid": kid, "kty": "RSA", "n": n, "use": "sig"})
}

#[test]
fn a_republished_key_keeps_its_allocation() {
    let set = |keys: &[Value]| KeySet::parse(json!({"keys": keys}).to_string().as_bytes()).unwrap();
    let (a, b) = (jwk("a", &modulus(2048, 1)), jwk("b", &modulus(2048, 3)));
    let first = set(&[a.clone(), b.clone()]);
    let own = |id| first.key(id).unwrap();
    let same = set(&[b.clone(), a]).keeping_keys_of(Some(&first));
    assert!(same.contains(&own("a")) && same.contains(&own("b")));
    let replaced = set(&[jwk("a", &modulus(2048, 5)), b.clone()]).keeping_keys_of(Some(&first));
    assert!(!replaced.contains(&own("a")) && replaced.contains(&own("b")), "another key with the same id");
    let without = set(&[b]).keeping_keys_of(Some(&first));
    assert!(!without.contains(&own("a")) && without.contains(&own("b")));
    let back = set(&[jwk("a", &modulus(2048, 1))]).keeping_keys_of(Some(&without));
    assert!(!back.contains(&own("a")), "a withdrawn key is never current again");
    assert!(!set(&[jwk("a", &modulus(2048, 1))]).keeping_keys_of(None).contains(&own("a")));
}

fn edit(field: &str, value: Value) -> Value {
    let mut key = jwk("edited", &modulus(2048, 1));
    key[field] = value;
    key
}

fn modulus(bits: usize, last: u8) -> String {
    encode(&raw_modulus(bits, last))
}

fn raw_modulus(bits: usize, last: u8) -> Vec<u8> {
    let mut bytes = vec![0x80; bits / 8];
    *bytes.last_mut().unwrap() = last;
    bytes
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
