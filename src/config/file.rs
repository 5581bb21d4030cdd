//! The settings file: TOML, with the line of every key.

use std::{fs, path::PathBuf};

use serde::{Deserialize as _, de::IntoDeserializer as _};
use serde_json::Value;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    ConfigError, ConfigErrors,
    builder::{ConfigBuilder, is_table},
    value_source::ValueSource,
};

/// Merges the file at `path`, which `named_by` names. Fails if it cannot be read or is not TOML.
pub(super) fn merge(
    builder: &mut ConfigBuilder,
    path: PathBuf,
    named_by: ValueSource,
) -> Result<(), ConfigErrors> {
    let text = fs::read_to_string(&path)
        .map_err(|error| file_error(format!("cannot read {}: {error}", path.display()), named_by, true))?;
    merge_text(builder, path, &text)
}

/// As [`merge`], for the text of a file. Fails if it is not TOML.
pub(super) fn merge_text(builder: &mut ConfigBuilder, path: PathBuf, text: &str) -> Result<(), ConfigErrors> {
    let file = File { path, text };
    let table = DeTable::parse(text).map_err(|error| file.syntax_error(&error))?;
    file.merge_table(builder, "", table.get_ref());
    Ok(())
}

fn file_error(message: String, value_source: ValueSource, may_pass: bool) -> ConfigErrors {
    ConfigErrors(vec![ConfigError { key: "config".to_owned(), message, value_source, may_pass }])
}

struct File<'a> {
    path: PathBuf,
    text: &'a str,
}

impl File<'_> {
    fn syntax_error(&self, error: &toml::de::Error) -> ConfigErrors {
        let offset = error.span().map_or(self.text.len(), |span| span.start);
        let (_, column) = position(self.text, offset);
        let message = format!("not valid TOML at column {column}: {}", error.message());
        file_error(message, self.value_source(offset), false)
    }

    fn value_source(&self, offset: usize) -> ValueSource {
        ValueSource::File { path: self.path.clone(), line: position(self.text, offset).0 }
    }

    fn merge_table(&self, builder: &mut ConfigBuilder, parent: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let dot = if parent.is_empty() { "" } else { "." };
            let key = format!("{parent}{dot}{}", name.get_ref());
            self.merge_value(builder, &key, value, name.span().start);
        }
    }

    fn merge_value(
        &self,
        builder: &mut ConfigBuilder,
        key: &str,
        value: &Spanned<DeValue<'_>>,
        offset: usize,
    ) {
        match (builder.template(key), value.get_ref()) {
            (Some(Value::Object(_)), DeValue::Table(table)) => self.merge_table(builder, key, table),
            (Some(template), DeValue::Array(rows)) if is_table(template) => {
                for (at, row) in rows.iter().enumerate() {
                    let (key, offset) = (format!("{key}[{at}]"), row.span().start);
                    builder.add_row(&key, &self.value_source(offset));
                    self.merge_value(builder, &key, row, offset);
                }
            }
            _ => builder.set(key, without_spans(value), self.value_source(offset)),
        }
    }
}

/// Returns the value as JSON; null for a number that JSON cannot hold.
fn without_spans(value: &Spanned<DeValue<'_>>) -> Value {
    Value::deserialize(value.clone().into_deserializer()).unwrap_or_default()
}

/// Returns the line and column at a byte offset, both counted in characters from 1.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.char_indices().take_while(|(at, _)| *at < offset);
    before.fold((1, 1), |(line, column), (_, c)| match c {
        '\n' => (line + 1, 1),
        _ => (line, column + 1),
    })
}

#[cfg(test)]
mod tests;
