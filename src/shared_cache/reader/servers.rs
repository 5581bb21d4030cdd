//! Reads where the servers are.

use super::{
    super::{
        address::ServerUrl,
        target::{Address, Mode},
    },
    report::Report,
};
use crate::config::{SharedCacheMode, SharedCacheSettings};

/// Reads the URLs, and how the servers are run.
pub(super) struct Servers<'a, 'e, 'c> {
    pub(super) settings: &'a SharedCacheSettings,
    pub(super) report: &'a mut Report<'e, 'c>,
}

impl Servers<'_, '_, '_> {
    /// Returns how to find a server, and whether connections are encrypted; either is none after an
    /// error.
    pub(super) fn read(mut self) -> (Option<Mode>, Option<bool>) {
        let urls = self.urls();
        let is_tls = urls.as_ref().map(|urls| urls.iter().all(|url| url.is_tls));
        let addresses = urls.map(|urls| urls.into_iter().map(|url| url.address).collect());
        (self.mode(addresses), is_tls)
    }

    fn urls(&mut self) -> Option<Vec<ServerUrl>> {
        let settings = self.settings;
        let is_standalone = settings.mode == SharedCacheMode::Standalone;
        let urls: Vec<_> = match (&settings.url, &*settings.urls) {
            (Some(_), [_, ..]) => return self.report.refuse("urls", BOTH),
            (None, [_, ..]) if is_standalone => return self.report.refuse("urls", STANDALONE_URLS),
            (Some(url), []) => vec![self.url("url".to_owned(), url)],
            (None, urls) => {
                urls.iter().enumerate().map(|(n, url)| self.url(format!("urls[{n}]"), url)).collect()
            }
        };
        let urls = urls.into_iter().collect::<Option<Vec<_>>>()?;
        let is_mixed = urls.iter().any(|url| Some(url.is_tls) != urls.first().map(|first| first.is_tls));
        if is_mixed {
            self.report.refuse("urls", "must all begin with rediss://, or all with redis://")
        } else {
            Some(urls)
        }
    }

    fn url(&mut self, field: String, text: &str) -> Option<ServerUrl> {
        let mode = self.settings.mode;
        let default_port = if mode == SharedCacheMode::Sentinel { SENTINEL_PORT } else { PORT };
        let url = match ServerUrl::parse(text, default_port) {
            Ok(url) => url,
            Err(problem) => return self.report.refuse(&field, problem),
        };
        if matches!(url.address, Address::Unix(_)) && mode != SharedCacheMode::Standalone {
            return self
                .report
                .refuse(&field, "is a Unix socket, which needs shared_cache.mode = \"standalone\"");
        }
        if !url.is_tls && !url.address.is_local() {
            self.report.warn(&field, CLEARTEXT);
        }
        Some(url)
    }

    fn mode(&mut self, addresses: Option<Vec<Address>>) -> Option<Mode> {
        let SharedCacheSettings { mode, sentinel_name, .. } = self.settings;
        let name = match (mode, sentinel_name.clone()) {
            (SharedCacheMode::Sentinel, None) => {
                self.report.refuse("sentinel_name", "must be set if shared_cache.mode is \"sentinel\"")
            }
            (SharedCacheMode::Sentinel, name) | (_, name @ None) => name,
            (_, Some(_)) => self.report.refuse("sentinel_name", "needs shared_cache.mode = \"sentinel\""),
        };
        match (mode, addresses?) {
            (SharedCacheMode::Standalone, addresses) => addresses.into_iter().next().map(Mode::Standalone),
            (SharedCacheMode::Sentinel, addresses) => Some(Mode::Sentinel { addresses, name: name? }),
            (SharedCacheMode::Cluster, addresses) => Some(Mode::Cluster(addresses)),
        }
    }
}

const BOTH: &str = "is in place of shared_cache.url, and both are set; use one of the two";
const STANDALONE_URLS: &str =
    "needs shared_cache.mode = \"cluster\" or \"sentinel\"; use shared_cache.url for one server";
const CLEARTEXT: &str = "is without TLS to another machine, so the password, and when each user is active, can be read on the way";
const PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;
