//! Reads the settings of the shared cache, and reports everything that is wrong with them.

mod credentials;
mod report;
mod servers;

use std::{path::Path, sync::Arc};

use self::{
    credentials::{Credentials, iam_field},
    report::Report,
    servers::Servers,
};
use super::{
    config::SharedCacheConfig, index::IndexKey, keys::ValueKeys, namespace::Namespace,
    rate_limit::RateLimitSharing, target::Target,
};
use crate::{
    config::{BudgetScope, Config, ErrorCollector, SharedCacheMode, SharedCacheSettings},
    key_file::KeyFile,
};

impl SharedCacheConfig {
    /// Reads the settings and the files that they name. Returns none if no URL is set, and on
    /// errors, which are added to `errors`.
    pub fn read(config: &Config, errors: &mut ErrorCollector<'_>) -> Option<Self> {
        let settings = &config.shared_cache;
        let mut report = Report::new(errors);
        if settings.url.is_some() || !settings.urls.is_empty() {
            let shared = read(settings, report)?;
            let sharing = RateLimitSharing { replicas_at_most: settings.replicas_at_most };
            let is_shared = config.budget.scope == BudgetScope::Shared;
            Some(Self { rate_limit: is_shared.then_some(sharing), ..shared })
        } else if has_other_settings(settings) {
            report.refuse("url", "must be set to use the other shared_cache settings")
        } else {
            None
        }
    }
}

fn read(settings: &SharedCacheSettings, mut report: Report<'_, '_>) -> Option<SharedCacheConfig> {
    let (mode, is_tls) = Servers { settings, report: &mut report }.read();
    let (auth, tls) = Credentials { settings, is_tls, report: &mut report }.read();
    let namespace = report.errors.parsed("shared_cache.namespace", &settings.namespace);
    let index_key = index_key(settings, &mut report);
    let value_keys = value_keys(settings, index_key.as_ref(), &mut report);
    let namespace: Namespace = namespace?;
    let target = Target {
        mode: mode?,
        tls,
        auth: auth?,
        timeout: settings.timeout,
        connect_timeout: settings.connect_timeout,
        namespace: namespace.clone(),
    };
    Some(SharedCacheConfig {
        target,
        namespace,
        index_key: index_key?,
        value_keys: Arc::new(value_keys?),
        rate_limit: None,
        warnings: report.warnings,
    })
}

/// Returns whether a setting is set that has no effect without a URL. Those that only bound
/// something do not count, as in the other sections.
fn has_other_settings(settings: &SharedCacheSettings) -> bool {
    let SharedCacheSettings { ca_file, certificate, key, username, password_file, .. } = settings;
    let SharedCacheSettings { mode, sentinel_name, index_key_file, value_key_files, iam, .. } = settings;
    let texts = [ca_file, certificate, key, username, password_file, sentinel_name, index_key_file];
    texts.into_iter().any(Option::is_some)
        || *mode != SharedCacheMode::Standalone
        || !value_key_files.is_empty()
        || iam_field(iam).is_some()
}

fn index_key(settings: &SharedCacheSettings, report: &mut Report<'_, '_>) -> Option<IndexKey> {
    let Some(path) = &settings.index_key_file else {
        return report.refuse("index_key_file", NO_KEY);
    };
    report.warn_of_readers("index_key_file", path);
    let read = KeyFile::read(Path::new(path));
    let key = read.and_then(|file| IndexKey::of(&file).map_err(|_| format!("{path}: is no key")));
    key.map_err(|problem| report.refuse_file("index_key_file", problem)).ok()
}

fn value_keys(
    settings: &SharedCacheSettings,
    index_key: Option<&IndexKey>,
    report: &mut Report<'_, '_>,
) -> Option<ValueKeys> {
    let files = &settings.value_key_files;
    if files.is_empty() {
        return report.refuse("value_key_files", NO_KEY);
    }
    for (n, path) in files.iter().enumerate() {
        report.warn_of_readers(&format!("value_key_files[{n}]"), path);
    }
    let keys = ValueKeys::read(files.iter().map(Into::into).collect(), index_key.map(IndexKey::id));
    let mut refuse = |(n, problem)| report.refuse_file(&format!("value_key_files[{n}]"), problem);
    keys.map_err(|problems| problems.into_iter().for_each(&mut refuse)).ok()
}

const NO_KEY: &str = "must be set to use the shared cache; create a key with `openssl rand -hex 32`";

#[cfg(test)]
mod tests;
