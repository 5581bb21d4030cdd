//! The settings file: TOML, with the line of every key.

use std::{fs, path::PathBuf};

use serde::{Deserialize as _, de::IntoDeserializer as _};
use serde_json::Value;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{ConfigError, builder::ConfigBuilder, value_source::ValueSource};

/// Sets in `builder` what the file at `path` sets; `named_by` says where the path came from. Fails on a file that cannot be
/// read or is not TOML.
pub(super) fn merge(
    builder: &mut ConfigBuilder,
    path: PathBuf,
    named_by: ValueSource,
) -> Result<(), ConfigError> {
    let text = fs::read_to_string(&path)
        .map_err(|error| fault(format!("cannot read {}: {error}", path.display()), named_by))?;
    let document = File { path, text: &text };
    let table = DeTable::parse(&text).map_err(|error| document.syntax(&error))?;
    let template = builder.template().clone();
    document.table(builder, "", &template, table.get_ref());
    Ok(())
}

fn fault(message: String, value_source: ValueSource) -> ConfigError {
    ConfigError { key: "config".to_owned(), message, value_source }
}

struct File<'a> {
    path: PathBuf,
    text: &'a str,
}

impl File<'_> {
    fn syntax(&self, error: &toml::de::Error) -> ConfigError {
        let offset = error.span().map_or(self.text.len(), |span| span.start);
        let (_, column) = position(self.text, offset);
        let message = format!("not valid TOML at column {column}: {}", error.message());
        fault(message, self.value_source(offset))
    }

    fn value_source(&self, offset: usize) -> ValueSource {
        ValueSource::File { path: self.path.clone(), line: position(self.text, offset).0 }
    }

    fn table(&self, builder: &mut ConfigBuilder, parent: &str, template: &Value, table: &DeTable<'_>) {
        for (name, value) in table {
            let dot = if parent.is_empty() { "" } else { "." };
            let key = format!("{parent}{dot}{}", name.get_ref());
            let value_source = self.value_source(name.span().start);
            match template.get(name.get_ref().as_ref()) {
                Some(template) => self.value(builder, &key, template, value, value_source),
                None => builder.add_unknown_key(&key, value_source),
            }
        }
    }

    fn value(
        &self,
        builder: &mut ConfigBuilder,
        key: &str,
        template: &Value,
        value: &Spanned<DeValue<'_>>,
        value_source: ValueSource,
    ) {
        match (template, value.get_ref()) {
            (Value::Object(_), DeValue::Table(table)) => self.table(builder, key, template, table),
            (Value::Object(_), _) => builder.add_error(key, "must be a table", value_source),
            (Value::Array(rows), value) if !rows.is_empty() => {
                self.rows(builder, key, rows, value, value_source)
            }
            _ => match leaf(value) {
                Some(value) => builder.set(key, value, value_source),
                None => builder.add_error(key, "is a number out of range", value_source),
            },
        }
    }

    fn rows(
        &self,
        builder: &mut ConfigBuilder,
        key: &str,
        template: &[Value],
        value: &DeValue<'_>,
        value_source: ValueSource,
    ) {
        let (DeValue::Array(rows), [template, ..]) = (value, template) else {
            return builder.add_error(key, "must be an array of tables", value_source);
        };
        for (at, row) in rows.iter().enumerate() {
            let key = format!("{key}[{at}]");
            let value_source = self.value_source(row.span().start);
            builder.add_row(&key, &value_source);
            self.value(builder, &key, template, row, value_source);
        }
    }
}

/// The value without its spans; none for a number that JSON cannot hold.
fn leaf(value: &Spanned<DeValue<'_>>) -> Option<Value> {
    let value = Value::deserialize(value.clone().into_deserializer()).ok()?;
    (!value.is_null()).then_some(value)
}

/// The line and column at a byte offset, both counted in characters from 1.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.char_indices().take_while(|(at, _)| *at < offset);
    before.fold((1, 1), |(line, column), (_, c)| match c {
        '\n' => (line + 1, 1),
        _ => (line, column + 1),
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::super::{Config, Sources};

    fn errors(text: &str) -> Vec<String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let path = file.path().display().to_string();
        let sources = Sources { file: Some(path.clone().into()), ..Sources::default() };
        let errors = Config::load(sources).and_then(Config::validated).unwrap_err();
        errors.iter().map(|fault| fault.to_string().replace(&path, "f")).collect()
    }

    #[test]
    fn a_syntax_error_tells_line_and_column() {
        for (text, column, place) in [
            ("listen = \n", 10, "(f line 1)"),
            ("# \u{e9}\u{e9}\n\n[cache]\nfresh_for = 60s\n", 13, "(f line 4)"),
            ("reflection = true\nreflection = true\n", 1, "(f line 2)"),
            ("a = \"\u{e9}\" b", 9, "(f line 1)"),
            ("[cache", 7, "(f line 1)"),
        ] {
            let found = errors(text);
            let start = format!("config: not valid TOML at column {column}: ");
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].starts_with(&start), "{found:?}");
            assert!(found[0].ends_with(place), "{found:?}");
        }
    }

    #[test]
    fn a_wrong_key_or_type_is_a_fault() {
        for (text, expected) in [
            ("[cahce]\nfresh_for = \"1s\"", "cahce: is not a setting (f line 1)"),
            (
                "[cache]\n\nfresh_fro = \"1s\"",
                "cache.fresh_fro: is not a setting; did you mean `cache.fresh_for`? (f line 3)",
            ),
            ("origins = []", "origins: is not a setting (f line 1)"),
            ("cache = 3", "cache: must be a table (f line 1)"),
            ("[pools]\nid = \"a\"", "pools: must be an array of tables (f line 1)"),
            ("pools = [\n\"a\"]", "pools[0]: must be a table (f line 2)"),
            (
                "[[pools]]\nid = \"a\"\n[[pools]]\nid = \"b\"\nidd = 1",
                "pools[1].idd: is not a setting; did you mean `pools[1].id`? (f line 5)",
            ),
            ("user_pool_id = inf", "user_pool_id: is a number out of range (f line 1)"),
            ("app_clients = \"a,b\"", "app_clients: `a,b` is not a list such as [\"a\", \"b\"] (f line 1)"),
            ("app_clients = [\"a\", \" \"]", "app_clients: an item of the list is empty (f line 1)"),
            (
                "app_clients = [\"a\", 3]",
                "app_clients: `[\"a\",3]` is not a list such as [\"a\", \"b\"] (f line 1)",
            ),
            (
                "listen = 3",
                "listen: `3` is not an address and port such as 127.0.0.1:50051, or unix: and a path (f line 1)",
            ),
            ("user_pool_id = 3", "user_pool_id: `3` is not text in quotes such as \"a\" (f line 1)"),
            (
                "[[callers]]\nname = [\"a\"]",
                "callers[0].name: `[\"a\"]` is not text in quotes such as \"a\" (f line 2)",
            ),
            ("[[pools]]\nfederated = 1", "pools[0].federated: `1` is not true or false (f line 2)"),
            (
                "[[pools]]\nbare_sub = \"scan\"",
                "pools[0].bare_sub: must be admin-get-user or list-users, not `scan` (f line 2)",
            ),
            (
                "[[callers]]\nreads = \"sometimes\"",
                "callers[0].reads: must be token or any, not `sometimes` (f line 2)",
            ),
            (
                "[cache]\nfresh_for = 60",
                "cache.fresh_for: `60` is not a duration such as 60s or 15min (f line 2)",
            ),
            (
                "[cache]\nfresh_for = 1979-05-27",
                "cache.fresh_for: `{…}` is not a duration such as 60s or 15min (f line 2)",
            ),
            ("[cache]\nmax_bytes = -1", "cache.max_bytes: `-1` is not a size such as 256MiB (f line 2)"),
            (
                "[cache]\nfresh_for = {a = 1}",
                "cache.fresh_for: `{…}` is not a duration such as 60s or 15min (f line 2)",
            ),
        ] {
            assert_eq!(errors(text).first().map(String::as_str), Some(expected));
        }
    }
}
