use std::io::Write as _;

use super::super::{Config, Sources};

fn errors(text: &str) -> Vec<String> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let path = file.path().display().to_string();
    let sources = Sources { file: Some(path.clone().into()), ..Sources::default() };
    let errors = Config::load(sources).and_then(Config::validated).unwrap_err();
    errors.iter().map(|error| error.to_string().replace(&path, "f")).collect()
}

#[test]
fn a_syntax_error_has_its_line_and_column() {
    for (text, column, place) in [
        ("listen = \n", 10, "(from f line 1)"),
        ("# \u{e9}\u{e9}\n\n[cache]\nfresh_for = 60s\n", 13, "(from f line 4)"),
        ("reflection = true\nreflection = true\n", 1, "(from f line 2)"),
        ("a = \"\u{e9}\" b", 9, "(from f line 1)"),
        ("[cache", 7, "(from f line 1)"),
    ] {
        let found = errors(text);
        let start = format!("config: not valid TOML at column {column}: ");
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with(&start), "{found:?}");
        assert!(found[0].ends_with(place), "{found:?}");
    }
}

#[test]
fn a_wrong_key_or_table_is_an_error() {
    for (text, expected) in [
        ("[cahce]\nfresh_for = \"1s\"", "cahce: is not a setting (from f line 1)"),
        (
            "[cache]\n\nfresh_fro = \"1s\"",
            "cache.fresh_fro: is not a setting; did you mean `cache.fresh_for`? (from f line 3)",
        ),
        ("origins = []", "origins: is not a setting (from f line 1)"),
        ("cache = 3", "cache: is a table; set the keys in it (from f line 1)"),
        ("[pools]\nid = \"a\"", "pools: is a table; set the keys in it (from f line 1)"),
        ("pools = [\n\"a\"]", "pools[0]: is a table; set the keys in it (from f line 2)"),
        (
            "[[pools]]\nid = \"a\"\n[[pools]]\nid = \"b\"\nidd = 1",
            "pools[1].idd: is not a setting; did you mean `pools[1].id`? (from f line 5)",
        ),
    ] {
        assert_eq!(errors(text).first().map(String::as_str), Some(expected));
    }
}

#[test]
fn a_wrong_value_is_an_error() {
    for (text, expected) in [
        ("user_pool_id = inf", "user_pool_id: is a number out of range (from f line 1)"),
        (
            "app_clients = \"a,b\"",
            "app_clients: \"a,b\" is not a list; expected one such as [\"a\", \"b\"] (from f line 1)",
        ),
        ("app_clients = [\"a\", \" \"]", "app_clients: an item of the list is empty (from f line 1)"),
        (
            "app_clients = [\"a\", 3]",
            "app_clients[1]: invalid type: integer `3`, expected a string (from f line 1)",
        ),
        (
            "listen = 3",
            "listen: 3 is not an address to listen on; expected one such as 127.0.0.1:50051 or unix:/run/lookup.sock (from f line 1)",
        ),
        ("user_pool_id = 3", "user_pool_id: invalid type: integer `3`, expected a string (from f line 1)"),
        (
            "[[callers]]\nname = [\"a\"]",
            "callers[0].name: invalid type: sequence, expected a string (from f line 2)",
        ),
        (
            "[[pools]]\nfederated = 1",
            "pools[0].federated: invalid type: integer `1`, expected a boolean (from f line 2)",
        ),
        (
            "[[pools]]\nbare_sub = \"scan\"",
            "pools[0].bare_sub: unknown value `scan`, expected `admin-get-user` or `list-users` (from f line 2)",
        ),
        (
            "[[callers]]\nreads = \"sometimes\"",
            "callers[0].reads: unknown value `sometimes`, expected `token` or `any` (from f line 2)",
        ),
        (
            "[cache]\nfresh_for = 60",
            "cache.fresh_for: 60 is not a duration; expected one such as 60s or 15min (from f line 2)",
        ),
        (
            "[cache]\nfresh_for = 1979-05-27",
            "cache.fresh_for: a table is not a duration; expected one such as 60s or 15min (from f line 2)",
        ),
        (
            "[cache]\nmax_bytes = -1",
            "cache.max_bytes: -1 is not a size; expected one such as 256MiB (from f line 2)",
        ),
        (
            "[cache]\nfresh_for = {a = 1}",
            "cache.fresh_for: a table is not a duration; expected one such as 60s or 15min (from f line 2)",
        ),
    ] {
        assert_eq!(errors(text).first().map(String::as_str), Some(expected));
    }
}
