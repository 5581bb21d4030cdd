//! Odd answers, as tables.

use super::*;

#[test]
fn attributes_are_read_as_text_and_left_out_without_a_value() {
    let table = [
        (r#"{"Name": "name", "Value": "Ada"}"#, json!("Ada"), &[][..]),
        (r#"{"Name": "name", "Value": ""}"#, json!(""), &[]),
        (r#"{"Value": true, "Name": "name"}"#, json!("true"), &[]),
        (
            r#"{"Name": "name", "Value": 12345678901234567890123.10}"#,
            json!("12345678901234567890123.10"),
            &[],
        ),
        (r#"{"Name": "name", "Value": 1e400}"#, json!("1e400"), &[]),
        (r#"{"Name": "name", "Value": [{"userId": "1"}]}"#, json!(r#"[{"userId": "1"}]"#), &[]),
        (r#"{"Name": "name", "Value": null}"#, Value::Null, &[]),
        (r#"{"Name": "name"}"#, Value::Null, &[]),
        (r#"{"Name": "name", "Value": NaN}"#, Value::Null, &[]),
        (r#"{"Name": "name", "Value": "\ud800"}"#, Value::Null, &["Value of an attribute"]),
        (r#"{"Value": "Ada"}"#, Value::Null, &["Name of an attribute"]),
        (r#"{"Name": null, "Value": "Ada"}"#, Value::Null, &["Name of an attribute"]),
        (r#"{"Name": "a b", "Value": "Ada"}"#, Value::Null, &["Name of an attribute"]),
        ("null", Value::Null, &["Name of an attribute"]),
    ];
    for (attribute, expected, left_out) in table {
        for member in ["Attributes", "UserAttributes"] {
            let (answer, noted) = read(&format!(r#"{{"{member}": [{attribute}]}}"#)).unwrap();
            assert_eq!(answer[member][0]["Value"], expected, "{attribute}");
            assert_eq!(noted, left_out, "{attribute}");
        }
    }
}

#[test]
fn dates_are_read_as_seconds_or_iso_8601_within_the_years_of_protobuf() {
    let in_2024 = Some(1_732_838_400.0);
    let table = [
        ("1732838400", in_2024),
        ("1732838400.000", in_2024),
        ("1.7328384e9", in_2024),
        (r#""1732838400""#, in_2024),
        (r#""2024-11-29T00:00:00Z""#, in_2024),
        (r#""2024-11-29T01:00:00.000+01:00""#, in_2024),
        (r#""2024-11-29 00:00:00+00:00""#, in_2024),
        (r#""2024-11-29T00:00:00.000000""#, in_2024),
        (r#""2024-11-29""#, in_2024),
        ("0", Some(0.0)),
        ("-1.5", Some(-1.5)),
        ("-62135596800", Some(-62_135_596_800.0)),
        ("-62135596801", None),
        ("253402300799", Some(253_402_300_799.0)),
        ("253402300800", None),
        // A date in milliseconds.
        ("1732838400000", None),
        ("9223372036854775807", None),
        ("-9.3e18", None),
        ("1e400", None),
        (r#""NaN""#, None),
        (r#""-Infinity""#, None),
        (r#""yesterday""#, None),
        (r#""""#, None),
        ("true", None),
        ("{}", None),
    ];
    for (date, expected) in table {
        for member in ["UserCreateDate", "UserLastModifiedDate"] {
            let (answer, left_out) = read(&format!(r#"{{"{member}": {date}}}"#)).unwrap();
            assert_eq!(answer[member].as_f64(), expected, "{date}");
            assert_eq!(left_out.is_empty(), expected.is_some(), "{date}");
        }
    }
    for absent in ["null", "NaN", "Infinity", "-Infinity"] {
        let (answer, left_out) = read(&format!(r#"{{"UserCreateDate": {absent}}}"#)).unwrap();
        assert_eq!((&answer["UserCreateDate"], left_out.len()), (&Value::Null, 0), "{absent}");
    }
}

#[test]
fn a_user_is_enabled_unless_the_answer_says_otherwise() {
    for (flag, expected) in [
        ("true", true),
        ("null", true),
        ("1", true),
        (r#""True""#, true),
        ("false", false),
        (r#""false""#, false),
    ] {
        assert_eq!(read(&format!(r#"{{"Enabled": {flag}}}"#)).unwrap().0["Enabled"], expected, "{flag}");
    }
    assert_eq!(read("{}").unwrap().0["Enabled"], true);
    for flag in [r#""maybe""#, "2", "{}", "[]"] {
        assert_eq!(read(&format!(r#"{{"Enabled": {flag}}}"#)), Err(Flaw::unreadable("Enabled")), "{flag}");
    }
}

#[test]
fn lists_may_be_null_and_what_is_not_used_is_dropped() {
    let odd = r#"{
        "Username": 42, "UserStatus": [], "PreferredMfaSetting": 7, "MFAOptions": "SMS",
        "UserMFASettingList": {"a": NaN}, "UserAttributes": null
    }"#;
    let expected = json!({"Username": "42", "UserAttributes": [], "Enabled": true});
    assert_eq!(read(odd), Ok((expected, vec!["UserStatus".to_owned()])));
    for (list, expected) in [
        (r#"{"Users": null}"#, json!([])),
        (r#"{"Users": [null]}"#, json!([])),
        (r#"{"Users": [{"Attributes": null}]}"#, json!([{"Attributes": [], "Enabled": true}])),
    ] {
        assert_eq!(read(list).unwrap().0["Users"], expected, "{list}");
    }
    assert_eq!(read(r#"{"Groups": null, "NextToken": null}"#).unwrap().0["Groups"], json!([]));
    assert_eq!(read("{}").unwrap().0.get("Users"), None);
}

#[test]
fn what_an_answer_means_nothing_without_is_named() {
    for (answer, field) in [
        ("[]", "the body"),
        ("7", "the body"),
        (r#"{"Username": {}}"#, "Username"),
        (r#"{"UserAttributes": "none"}"#, "UserAttributes"),
        (r#"{"Users": {}}"#, "Users"),
        (r#"{"Users": ["ada"]}"#, "Users"),
        (r#"{"Groups": ["staff"]}"#, "Groups"),
        (r#"{"Groups": [{"GroupName": {}}]}"#, "GroupName"),
        (r#"{"PaginationToken": []}"#, "PaginationToken"),
    ] {
        assert_eq!(read(answer), Err(Flaw::unreadable(field)), "{answer}");
    }
}

#[test]
fn what_is_not_json_is_left_to_the_sdk() {
    for body in ["", "{", "<html>", r#"{"Username": "a"#, r#"{"Username": nan}"#] {
        assert_eq!(answer(body, &mut Vec::new()), Ok(None), "{body}");
    }
}

#[test]
fn a_quoted_nan_stays() {
    for value in ["NaN", "Infinity", r#"\"NaN\" NaN"#, r"\\"] {
        let body = format!(
            r#"{{"UserCreateDate": NaN, "UserAttributes": [{{"Name": "name", "Value": "{value}"}}]}}"#
        );
        let expected: String = serde_json::from_str(&format!("\"{value}\"")).unwrap();
        assert_eq!(read(&body).unwrap().0["UserAttributes"][0]["Value"], expected, "{value}");
    }
}

#[test]
fn only_the_code_of_an_error_is_kept() {
    for (body, code) in [
        (r#"{"__type": "A", "message": "ada@example.com"}"#, json!("A")),
        (r#"{"code": "A", "__type": "B"}"#, json!("A")),
        (r#"{"Code": "A", "message": 7}"#, json!("A")),
        (r#"{"__type": null}"#, Value::Null),
        ("<html>", Value::Null),
        ("", Value::Null),
        ("[]", Value::Null),
        (&format!(r#"{{"__type": "{}"}}"#, "a".repeat(256)), json!("a".repeat(256))),
        (&format!(r#"{{"__type": "{}"}}"#, "a".repeat(257)), Value::Null),
    ] {
        assert_eq!(error(body.as_bytes()), json!({"__type": code}).to_string(), "{body}");
    }
}

fn read(body: &str) -> Result<(Value, Vec<String>), Flaw> {
    let mut left_out = Vec::new();
    let answer = answer(body, &mut left_out)?.unwrap();
    Ok((serde_json::from_str(&answer).unwrap(), left_out))
}
