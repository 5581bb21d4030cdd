//! Reads how the servers and this process prove who they are.

use std::path::Path;

use super::{
    super::{
        password,
        target::{Auth, ClientFiles, Iam, Tls},
        tls,
    },
    report::Report,
};
use crate::config::{IamSettings, SharedCacheSettings};

/// Reads the settings of TLS, and of authentication.
pub(super) struct Credentials<'a, 'e, 'c> {
    pub(super) settings: &'a SharedCacheSettings,
    /// None if the URLs are wrong.
    pub(super) is_tls: Option<bool>,
    pub(super) report: &'a mut Report<'e, 'c>,
}

impl Credentials<'_, '_, '_> {
    /// Returns how this process authenticates, or none after an error; and the files of TLS, if it
    /// is used.
    pub(super) fn read(mut self) -> (Option<Auth>, Option<Tls>) {
        let tls = self.tls();
        (self.auth(), tls.filter(|_| self.is_tls == Some(true)))
    }

    fn tls(&mut self) -> Option<Tls> {
        let SharedCacheSettings { ca_file, certificate, key, .. } = self.settings;
        for (field, file) in [("ca_file", ca_file), ("certificate", certificate), ("key", key)] {
            let Some(path) = file.as_ref().map(Path::new) else { continue };
            let checked = if field == "key" { tls::check_key(path) } else { tls::check_certificates(path) };
            match checked {
                _ if self.is_tls == Some(false) => drop(self.report.refuse::<()>(field, NEEDS_TLS)),
                Ok(()) => {}
                Err(problem) => self.report.refuse_file(field, problem),
            }
        }
        let client = match (certificate, key) {
            (Some(certificate), Some(key)) => {
                Some(ClientFiles { certificate: certificate.into(), key: key.into() })
            }
            (Some(_), None) => self.report.refuse("key", "must be set if shared_cache.certificate is set"),
            (None, Some(_)) => self.report.refuse("certificate", "must be set if shared_cache.key is set"),
            (None, None) => None,
        };
        Some(Tls { ca_file: ca_file.as_ref().map(Into::into), client })
    }

    fn auth(&mut self) -> Option<Auth> {
        let SharedCacheSettings { username, password_file, iam, .. } = self.settings;
        let has_password = username.is_some() || password_file.is_some();
        if let Some(field) = iam_field(iam) {
            if has_password {
                self.report.refuse::<()>(field, IAM_AND_PASSWORD);
            } else if self.is_tls == Some(false) {
                self.report.refuse::<()>(field, NEEDS_TLS);
            }
            return self.iam();
        }
        match password_file {
            None if has_password => {
                self.report.refuse("password_file", "must be set if shared_cache.username is set")
            }
            None => Some(Auth::None),
            Some(path) => {
                if let Err(problem) = password::read(Path::new(path)) {
                    self.report.refuse_file("password_file", problem);
                }
                self.report.warn_of_readers("password_file", path);
                Some(Auth::Password { username: username.clone(), password_file: path.into() })
            }
        }
    }

    fn iam(&mut self) -> Option<Auth> {
        let IamSettings { cache, user, serverless, region } = self.settings.iam.clone();
        for (field, value) in [("iam.cache", &cache), ("iam.user", &user), ("iam.region", &region)] {
            let is_name = |text: &String| {
                text.len() <= MAX_NAME
                    && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            };
            if !value.as_ref().is_none_or(is_name) {
                self.report
                    .refuse::<()>(field, "is not a name of AWS; expected 1 to 40 characters of [A-Za-z0-9-]");
            }
        }
        for (field, value) in [("iam.cache", &cache), ("iam.user", &user)] {
            if value.is_none() {
                self.report.refuse::<()>(field, "must be set to authenticate with IAM");
            }
        }
        Some(Auth::Iam(Iam { cache: cache?, user: user?, serverless, region }))
    }
}

/// Returns the first setting of IAM that is set; none if IAM is not used.
pub(super) fn iam_field(iam: &IamSettings) -> Option<&'static str> {
    let IamSettings { cache, user, serverless, region } = iam;
    let fields = [
        ("iam.cache", cache.is_some()),
        ("iam.user", user.is_some()),
        ("iam.serverless", *serverless),
        ("iam.region", region.is_some()),
    ];
    fields.into_iter().find_map(|(field, is_set)| is_set.then_some(field))
}

const NEEDS_TLS: &str = "needs TLS: begin the URL with rediss://";
const IAM_AND_PASSWORD: &str = "is in place of shared_cache.username and shared_cache.password_file, and both are set; use one of the two";
// The longest id of a replication group, a serverless cache or a user (ElastiCache API reference).
const MAX_NAME: usize = 40;
