//! The sources of the settings: a flag wins over the environment, the environment over the file.

use std::{
    ffi::{OsStr, OsString},
    path::PathBuf,
};

use super::{
    ConfigErrors,
    builder::ConfigBuilder,
    file, memory_limit,
    service_links::is_service_link,
    value_source::{PREFIX, ValueSource},
};

/// Everything that settings are read from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The file that `--config` names; it wins over `COGNITO_LOOKUP_CONFIG`.
    pub file: Option<PathBuf>,
    /// The environment. Variables without the prefix `COGNITO_LOOKUP_` are ignored, and so are
    /// those that Kubernetes sets for a Service of that name.
    pub environment: Vec<(OsString, OsString)>,
    /// The flags that set a key. If a key has several, the last one wins.
    pub flags: Vec<Flag>,
    /// The memory limit of the container or the unit, in bytes, that sizes must fit in.
    pub memory_limit: Option<u64>,
}

/// A flag of the command line that sets a key.
#[derive(Clone, Debug)]
pub struct Flag {
    /// The key, such as `cache.fresh_for`.
    pub key: &'static str,
    /// The flag as it is written, such as `--fresh-for`.
    pub name: &'static str,
    /// The value as text; a list is separated by commas.
    pub value: String,
}

/// Returns the access token of the client commands, from `COGNITO_LOOKUP_TOKEN`; none if that is
/// unset, empty or not UTF-8. It is a secret, so neither a setting nor a flag.
#[expect(clippy::disallowed_methods, reason = "this module is the one reader of the environment")]
pub fn access_token() -> Option<String> {
    std::env::var(TOKEN).ok().filter(|token| !token.is_empty())
}

/// Returns the name and value of the first of these environment variables that is set and not
/// empty. They are the standard ones of other software, not settings.
#[expect(clippy::disallowed_methods, reason = "this module is the one reader of the environment")]
pub fn environment_variable(names: &[&'static str]) -> Option<(&'static str, String)> {
    names.iter().find_map(|name| {
        let value = std::env::var_os(name).filter(|value| !value.is_empty())?;
        Some((*name, value.to_string_lossy().into_owned()))
    })
}

/// Returns whether OpenTelemetry's standard variables configure the export of traces. They must
/// name an endpoint or the exporter `otlp`, and not disable the SDK.
pub fn is_tracing_configured() -> bool {
    let variable = |names: &[&'static str]| environment_variable(names).map(|(_, value)| value);
    let is_disabled =
        variable(&["OTEL_SDK_DISABLED"]).is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let is_configured = match variable(&["OTEL_TRACES_EXPORTER"]) {
        Some(exporter) => exporter == "otlp",
        None => variable(&["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"]).is_some(),
    };
    is_configured && !is_disabled
}

impl Sources {
    /// Returns the given file and flags, and the `COGNITO_LOOKUP_…` variables of this process.
    #[expect(clippy::disallowed_methods, reason = "this module is the one reader of the environment")]
    pub fn from_process(file: Option<PathBuf>, flags: Vec<Flag>) -> Self {
        let memory_limit = memory_limit::of_process();
        Self { file, environment: std::env::vars_os().collect(), flags, memory_limit }
    }

    /// Merges the sources, the weakest first, and returns the path of the file, if there is one. Fails if
    /// the file cannot be read or is not TOML.
    pub(super) fn merge_into(mut self, builder: &mut ConfigBuilder) -> Result<Option<PathBuf>, ConfigErrors> {
        self.environment.retain(|(name, value)| is_ours(name, value));
        let file = self.take_file();
        if let Some((path, named_by)) = file.clone() {
            file::merge(builder, path, named_by)?;
        }
        self.environment.sort_by_cached_key(|(name, _)| by_index(name));
        for (name, value) in &self.environment {
            merge_variable(builder, &name.to_string_lossy(), value);
        }
        for flag in self.flags {
            builder.set_text(flag.key, &flag.value, ValueSource::Flag(flag.name.to_owned()));
        }
        Ok(file.map(|(path, _)| path))
    }

    fn take_file(&mut self) -> Option<(PathBuf, ValueSource)> {
        let name = format!("{PREFIX}CONFIG");
        let at = self.environment.iter().position(|(known, _)| known == name.as_str());
        let variable = at.map(|at| self.environment.swap_remove(at).1);
        match self.file.take() {
            Some(path) => Some((path, ValueSource::Flag("--config".to_owned()))),
            None => Some((variable?.into(), ValueSource::Environment(name))),
        }
    }
}

fn is_ours(name: &OsStr, value: &OsStr) -> bool {
    let is_link = |(name, value): (&str, &str)| {
        name.strip_prefix(PREFIX).is_some_and(|name| is_service_link(name, value))
    };
    name.as_encoded_bytes().starts_with(PREFIX.as_bytes())
        && name != TOKEN
        && !name.to_str().zip(value.to_str()).is_some_and(is_link)
}

/// Sorts row 2 before row 10: rows are added one after another.
fn by_index(name: &OsStr) -> Vec<(Option<usize>, String)> {
    let name = name.to_string_lossy();
    name.split("__").map(|part| (part.parse().ok(), part.to_owned())).collect()
}

fn merge_variable(builder: &mut ConfigBuilder, name: &str, value: &OsStr) {
    let value_source = ValueSource::Environment(name.to_owned());
    match (key(name), value.to_str()) {
        (Some(key), Some(text)) => builder.set_text(&key, text, value_source),
        (Some(key), None) => builder.add_error(&key, "the value is not UTF-8", value_source),
        (None, _) => builder.add_error(name, "is not the name of a setting", value_source),
    }
}

/// Returns the key that a variable names: `COGNITO_LOOKUP_POOLS__0__ID` is `pools[0].id`.
fn key(name: &str) -> Option<String> {
    let is_plain = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    let name = name.strip_prefix(PREFIX).filter(|name| !name.is_empty() && name.chars().all(is_plain))?;
    let mut key = String::new();
    for part in name.split("__") {
        match part.parse::<usize>() {
            Ok(index) => key.push_str(&format!("[{index}]")),
            Err(_) if key.is_empty() => key.push_str(&part.to_lowercase()),
            Err(_) => key.push_str(&format!(".{}", part.to_lowercase())),
        }
    }
    Some(key)
}

const TOKEN: &str = "COGNITO_LOOKUP_TOKEN";

#[cfg(test)]
mod tests;
