use serde_json::json;

use super::*;

#[test]
fn text_is_read_by_the_type_of_its_key() {
    for (template, text, expected) in [
        (json!([]), " a, b ", json!(["a", "b"])),
        (json!([]), " ", json!([])),
        (json!([]), "a,", json!(["a", ""])),
        (json!(false), "true", json!(true)),
        (json!(false), "3", json!("3")),
        (json!("info"), "3", json!("3")),
        (Value::Null, "a,b", json!("a,b")),
    ] {
        assert_eq!(parse(&template, text), expected, "{template} {text}");
    }
}
