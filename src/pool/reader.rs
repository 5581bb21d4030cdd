//! Reads the settings of one pool, and reports everything that is wrong with them.

use std::{collections::BTreeSet, fmt::Display, str::FromStr};

use http::Uri;

use super::{BareSubLookup, ClientId, Pool, PoolId, Role, id::is_region, partition::issuers};
use crate::config::{BareSub, ErrorCollector, PoolSettings};

pub(super) struct Reader<'a, 'e> {
    settings: &'a PoolSettings,
    key: String,
    errors: &'a mut ErrorCollector<'e>,
    /// Whether it has added an error.
    failed: bool,
}

impl<'a, 'e> Reader<'a, 'e> {
    /// Makes the reader of the entry under `key`, such as `pools[0]`.
    pub(super) fn new(settings: &'a PoolSettings, key: String, errors: &'a mut ErrorCollector<'e>) -> Self {
        Self { settings, key, errors, failed: false }
    }

    /// Returns none after adding to `errors`.
    pub(super) fn read(mut self) -> Option<Pool> {
        let settings = self.settings;
        let id: Option<PoolId> = self.parse("id", &settings.id);
        let app_clients = self.app_clients();
        let endpoint_url = self.url("endpoint_url", settings.endpoint_url.as_deref());
        let issuer = self.url("issuer", settings.issuer.as_deref());
        let jwks_url = self.url("jwks_url", settings.jwks_url.as_deref());
        let region = self.region(id.as_ref());
        let (role, account) = (self.role(), self.account());
        let id = id?;
        let issuers = match (&settings.issuer, id.region()) {
            // As written, because tokens are compared with it byte for byte.
            (Some(written), _) => issuer.map(|_| vec![written.clone()]),
            (None, Some(home)) => issuers(home, &id),
            (None, None) => self.refuse("issuer", NO_REGION),
        };
        if let (Some(account), Some(role)) = (&account, &role)
            && account != role.account()
        {
            self.refuse::<()>("account", "is not the account of role_arn: leave it out");
        }
        let (issuers, region) = (issuers?, region?);
        let is_jwks_url_set = settings.jwks_url.is_some();
        let mut published = issuers.iter().filter_map(|issuer| format!("{issuer}{JWKS_PATH}").parse().ok());
        let of_first = published.next();
        let pool = Pool {
            app_clients,
            endpoint_url: endpoint_url.map(|url| url.to_string()),
            jwks_url: jwks_url.or(of_first)?,
            other_jwks_url: published.next().filter(|_| !is_jwks_url_set),
            issuers,
            bare_sub: match (settings.bare_sub, settings.federated) {
                (BareSub::ListUsers, _) => BareSubLookup::ListUsers,
                (BareSub::AdminGetUser, true) => BareSubLookup::AdminGetUserThenListUsers,
                (BareSub::AdminGetUser, false) => BareSubLookup::AdminGetUser,
            },
            credentials: settings.credentials,
            region,
            account: account.or_else(|| role.as_ref().map(|role| role.account().to_owned())),
            role,
            id,
        };
        (!self.failed).then_some(pool)
    }

    fn app_clients(&mut self) -> BTreeSet<ClientId> {
        let ids = &self.settings.app_clients;
        if ids.is_empty() {
            self.refuse::<()>("app_clients", "must name an app client whose access tokens are accepted");
        }
        ids.iter().enumerate().filter_map(|(n, id)| self.parse(&format!("app_clients[{n}]"), id)).collect()
    }

    fn region(&mut self, id: Option<&PoolId>) -> Option<String> {
        match (self.settings.region.as_deref(), id?.region()) {
            (Some(region), _) if is_region(region) => Some(region.to_owned()),
            (Some(region), _) => {
                self.refuse("region", format!("{region:?} is not a Region; expected one such as eu-west-1"))
            }
            (None, Some(home)) => Some(home.to_owned()),
            (None, None) => self.refuse("region", NO_REGION),
        }
    }

    fn account(&mut self) -> Option<String> {
        let account = self.settings.account.as_ref()?;
        if account.len() != 12 || !account.bytes().all(|byte| byte.is_ascii_digit()) {
            return self.refuse("account", "is not an AWS account id; expected 12 digits in quotes");
        }
        Some(account.clone())
    }

    pub(super) fn role(&mut self) -> Option<Role> {
        let external_id = self.settings.external_id.clone();
        if !external_id.as_deref().is_none_or(Role::is_external_id) {
            self.refuse::<()>("external_id", "must be 2 to 1224 characters of [A-Za-z0-9+=,.@:/_-]");
        }
        let Some(arn) = self.settings.role_arn.clone() else {
            external_id?;
            return self.refuse("external_id", "requires role_arn");
        };
        let role = Role { arn, external_id };
        if role.account().is_empty() {
            let problem =
                "is not the ARN of a role; expected one such as arn:aws:iam::123456789012:role/user-lookup";
            return self.refuse("role_arn", format!("{:?} {problem}", role.arn));
        }
        Some(role)
    }

    fn url(&mut self, field: &str, url: Option<&str>) -> Option<Uri> {
        let Some(url) = url?.parse::<Uri>().ok().filter(is_web) else {
            return self.refuse(field, "is not an http or https URL");
        };
        // They would be logged with the URL.
        if url.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return self.refuse(field, "must not hold a user name or password");
        }
        Some(url)
    }

    fn parse<T: FromStr<Err: Display>>(&mut self, field: &str, text: &str) -> Option<T> {
        let parsed = self.errors.parsed(&format!("{}.{field}", self.key), text);
        self.failed |= parsed.is_none();
        parsed
    }

    fn refuse<T>(&mut self, field: &str, problem: impl Display) -> Option<T> {
        self.errors.add(format!("{}.{field}", self.key), problem);
        self.failed = true;
        None
    }
}

fn is_web(uri: &Uri) -> bool {
    matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty())
}

const NO_REGION: &str = "must be set: the pool's id does not begin with a Region";
const JWKS_PATH: &str = "/.well-known/jwks.json";
