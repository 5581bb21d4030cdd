//! A user pool: its id, and the issuer, key URL, Region and API that follow from it or from the
//! settings.

mod id;
mod partition;
mod reader;
mod role;

use std::{collections::BTreeSet, sync::Arc};

use http::Uri;

use self::reader::Reader;
pub use self::{
    id::{ClientId, InvalidClientId, InvalidPoolId, PoolId},
    role::Role,
};
use crate::config::{AwsCredentials, Config, ErrorCollector};

/// One configured user pool, every part of it valid.
#[derive(Debug, Eq, PartialEq)]
pub struct Pool {
    /// The pool's id.
    pub id: PoolId,
    /// The app clients whose access tokens are accepted.
    pub app_clients: BTreeSet<ClientId>,
    /// The URL of the API, if it is not the Region's.
    pub endpoint_url: Option<String>,
    /// The issuers accepted, compared byte for byte.
    pub issuers: Vec<String>,
    /// The URL of the signing keys.
    pub jwks_url: Uri,
    /// That of the other issuer, which has the keys if the first one refuses: a pool uses one of them.
    pub other_jwks_url: Option<Uri>,
    /// How to look up a user by bare `sub`.
    pub bare_sub: BareSubLookup,
    /// The credentials that sign calls.
    pub credentials: AwsCredentials,
    /// The Region of the API.
    pub region: String,
    /// The AWS account, if configured. Account and Region determine the quotas that calls count
    /// towards.
    pub account: Option<String>,
    /// The role to assume for calls; none to use the service's own credentials.
    pub role: Option<Role>,
}

/// How to look up a user by bare `sub`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BareSubLookup {
    /// `AdminGetUser` by sub, which finds local users only.
    AdminGetUser,
    /// `AdminGetUser` by sub, then `ListUsers`, which finds federated users too.
    AdminGetUserThenListUsers,
    /// `ListUsers` alone. Cognito does not bill it as activity of the user, and it is eventually
    /// consistent.
    ListUsers,
}

impl Pool {
    /// Returns the URLs that are not AWS's own over HTTPS, for a warning to the operator.
    pub fn unusual_urls(&self) -> Vec<String> {
        let is_usual = |url: &Uri| {
            url.scheme_str() == Some("https")
                && partition::is_aws(url.host().unwrap_or_default(), &self.region)
        };
        let endpoint = self.endpoint_url.iter().filter_map(|url| url.parse().ok());
        let urls = endpoint.chain([self.jwks_url.clone()]);
        urls.filter(|url| !is_usual(url)).map(|url| url.to_string()).collect()
    }
}

/// The configured pools, no two with the same id or issuer; cheap to clone.
#[derive(Clone, Debug)]
pub struct Pools(Arc<[Arc<Pool>]>);

impl Pools {
    /// Reads the settings of every pool. Returns none after adding to `errors`.
    pub fn read(config: &Config, errors: &mut ErrorCollector<'_>) -> Option<Self> {
        if config.pools.is_empty() {
            errors.add("pools", "must name a user pool: set user_pool_id, or [[pools]] in the settings file");
            return None;
        }
        let pools: Vec<Option<Pool>> = config
            .pools
            .iter()
            .enumerate()
            .map(|(n, settings)| Reader::new(settings, format!("pools[{n}]"), errors).read())
            .collect();
        for (n, pool) in pools.iter().enumerate() {
            let earlier = || pools.iter().take(n).flatten();
            let Some(pool) = pool else { continue };
            if earlier().any(|other| other.id == pool.id) {
                errors.add(format!("pools[{n}].id"), "names the same pool as another");
            } else if earlier().any(|other| other.issuers.iter().any(|issuer| pool.issuers.contains(issuer)))
            {
                errors.add(format!("pools[{n}].issuer"), "is the issuer of another pool too");
            } else if earlier().any(|other| !other.app_clients.is_disjoint(&pool.app_clients)) {
                // Rules name a caller by its app client alone, whichever pool issued the token.
                errors.add(format!("pools[{n}].app_clients"), "names an app client of another pool");
            }
        }
        let pools: Option<Vec<_>> = pools.into_iter().map(|pool| pool.map(Arc::new)).collect();
        pools.map(|pools| Self(pools.into()))
    }

    /// Returns these pools, with those of `old` in place of their equals. What depends on such a pool
    /// then stays valid.
    #[must_use]
    pub fn keeping(self, old: &Self) -> Self {
        let kept = |pool: &Arc<Pool>| old.iter().find(|old| *old == pool).unwrap_or(pool).clone();
        Self(self.iter().map(kept).collect())
    }

    /// Returns every pool, in the order of the settings.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Pool>> {
        self.0.iter()
    }

    /// Returns the pool that issues tokens as `issuer`, compared byte for byte.
    pub fn by_issuer(&self, issuer: &str) -> Option<&Arc<Pool>> {
        self.0.iter().find(|pool| pool.issuers.iter().any(|own| own == issuer))
    }

    /// Returns the pool with this id.
    pub fn by_id(&self, id: &PoolId) -> Option<&Arc<Pool>> {
        self.0.iter().find(|pool| pool.id == *id)
    }

    /// Returns the pool if there is only one.
    pub fn only(&self) -> Option<&Arc<Pool>> {
        match &*self.0 {
            [pool] => Some(pool),
            _ => None,
        }
    }
}

#[cfg(any(test, feature = "fuzzing"))]
impl Pool {
    /// Returns the pool of this id with the app client `client1`.
    #[allow(clippy::unwrap_used, reason = "the settings are valid")]
    pub(crate) fn for_test(id: &str) -> Arc<Self> {
        let (id, app_clients) = (id.to_owned(), vec!["client1".to_owned()]);
        let settings = crate::config::PoolSettings { id, app_clients, ..Default::default() };
        let config = Config { pools: vec![settings], ..Config::default() };
        Arc::clone(Pools::read(&config, &mut ErrorCollector::new(&config)).unwrap().only().unwrap())
    }
}

#[cfg(test)]
impl Pools {
    pub(crate) fn of(pools: impl IntoIterator<Item = Arc<Pool>>) -> Self {
        Self(pools.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{BareSub, PoolSettings};

    #[test]
    fn everything_follows_from_the_id() {
        let pool = read(&settings("eu-west-1_AbCdEfGhI")).unwrap();
        assert_eq!(pool.region, "eu-west-1");
        assert_eq!(
            pool.issuers,
            [
                "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_AbCdEfGhI",
                "https://issuer-cognito-idp.eu-west-1.amazonaws.com/eu-west-1_AbCdEfGhI",
            ]
        );
        assert_eq!(
            pool.jwks_url,
            "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_AbCdEfGhI/.well-known/jwks.json"
        );
        assert!(pool.unusual_urls().is_empty());
        let other = pool.other_jwks_url.as_ref().unwrap().to_string();
        assert_eq!(other, format!("{}/.well-known/jwks.json", pool.issuers[1]));
        let china = read(&settings("cn-north-1_AbCdEfGhI")).unwrap();
        assert!(china.issuers.iter().all(|issuer| issuer.contains(".cn-north-1.amazonaws.com.cn/")));
        assert!(china.unusual_urls().is_empty());
        assert_eq!(read(&settings("us-gov-west-1_X1")).unwrap().region, "us-gov-west-1");
    }

    #[test]
    fn each_can_be_set() {
        let mut settings = settings("local_3k2j1");
        assert_eq!(read(&settings).unwrap_err().len(), 2, "region and issuer");
        settings.region = Some("us-east-1".into());
        settings.issuer = Some("http://127.0.0.1:9229/local_3k2j1".into());
        let pool = read(&settings).unwrap();
        assert_eq!(pool.issuers, ["http://127.0.0.1:9229/local_3k2j1"]);
        assert_eq!(pool.jwks_url, "http://127.0.0.1:9229/local_3k2j1/.well-known/jwks.json");
        assert_eq!(
            (pool.other_jwks_url.clone(), pool.account.clone(), pool.role.clone()),
            (None, None, None)
        );
        settings.role_arn = Some("arn:aws:iam::123456789012:role/lookup".into());
        assert_eq!(read(&settings).unwrap().account.as_deref(), Some("123456789012"), "the role's quotas");
        settings.account = Some("210987654321".into());
        assert_eq!(read(&settings).unwrap_err().len(), 1, "of another account than the role");
        settings.account = Some("123456789012".into());
        assert_eq!(read(&settings).unwrap().account.as_deref(), Some("123456789012"));
        settings.jwks_url = Some("http://127.0.0.1:1/keys".into());
        settings.endpoint_url = Some("http://127.0.0.1:2".into());
        let pool = read(&settings).unwrap();
        assert_eq!(pool.unusual_urls(), ["http://127.0.0.1:2/", "http://127.0.0.1:1/keys"]);
    }

    #[test]
    fn what_is_wrong_is_said_all_at_once() {
        let mut settings = settings("no pool");
        settings.app_clients = vec!["a b".into()];
        settings.endpoint_url = Some("ftp://x".into());
        let keys = read(&settings).unwrap_err();
        assert_eq!(keys, ["pools[0].id", "pools[0].app_clients[0]", "pools[0].endpoint_url"]);
        settings.endpoint_url = Some("https://user:secret@example.com".into());
        assert!(read(&settings).unwrap_err().contains(&"pools[0].endpoint_url".to_owned()));
        settings.app_clients.clear();
        assert!(read(&settings).unwrap_err().contains(&"pools[0].app_clients".to_owned()));
    }

    #[test]
    fn each_part_is_valid_by_itself() {
        let with = |change: fn(&mut PoolSettings)| {
            let mut settings =
                PoolSettings { jwks_url: Some("http://127.0.0.1:1/keys".into()), ..settings("eu-west-1_A") };
            change(&mut settings);
            read(&settings).unwrap_err()
        };
        assert_eq!(with(|pool| pool.issuer = Some("foo".into())), ["pools[0].issuer"]);
        assert_eq!(with(|pool| pool.issuer = Some(String::new())), ["pools[0].issuer"]);
        assert_eq!(with(|pool| pool.region = Some("no where".into())), ["pools[0].region"]);
        assert_eq!(with(|pool| pool.jwks_url = Some("keys".into())), ["pools[0].jwks_url"]);
        assert_eq!(with(|pool| pool.account = Some("12345678901x".into())), ["pools[0].account"]);
        assert_eq!(with(|pool| pool.account = Some("1234567890123".into())), ["pools[0].account"]);
        let both = with(|pool| (pool.issuer, pool.region) = (Some("foo".into()), Some(String::new())));
        assert_eq!(both, ["pools[0].issuer", "pools[0].region"]);
    }

    #[test]
    fn two_pools_are_never_one() {
        let pools = ["eu-west-1_A", "eu-west-1_A", "eu-west-1_B"].map(settings).into();
        let mut config = Config { pools, ..Config::default() };
        config.pools[2].issuer = Some("https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_A".into());
        assert_eq!(read_all(&config).unwrap_err(), ["pools[1].id", "pools[2].issuer"]);
        config.pools = ["eu-west-1_A", "eu-west-1_B"].map(settings).into();
        assert_eq!(read_all(&config).unwrap_err(), ["pools[1].app_clients"]);
        config.pools[1].app_clients = vec!["client2".into()];
        assert_eq!(read_all(&config).unwrap().iter().count(), 2);
        config.pools.clear();
        assert_eq!(read_all(&config).unwrap_err(), ["pools"]);
    }

    #[test]
    fn bare_subs_are_looked_up_as_set() {
        let table = [
            (BareSub::AdminGetUser, false, BareSubLookup::AdminGetUser),
            (BareSub::AdminGetUser, true, BareSubLookup::AdminGetUserThenListUsers),
            (BareSub::ListUsers, false, BareSubLookup::ListUsers),
            (BareSub::ListUsers, true, BareSubLookup::ListUsers),
        ];
        for (bare_sub, federated, expected) in table {
            let settings = PoolSettings { bare_sub, federated, ..settings("eu-west-1_A") };
            assert_eq!(read(&settings).unwrap().bare_sub, expected);
        }
    }

    fn settings(id: &str) -> PoolSettings {
        PoolSettings { id: id.into(), app_clients: vec!["client1".into()], ..PoolSettings::default() }
    }

    fn read(settings: &PoolSettings) -> Result<Arc<Pool>, Vec<String>> {
        let config = Config { pools: vec![settings.clone()], ..Config::default() };
        read_all(&config).map(|pools| pools.only().unwrap().clone())
    }

    fn read_all(config: &Config) -> Result<Pools, Vec<String>> {
        let mut errors = ErrorCollector::new(config);
        let pools = Pools::read(config, &mut errors);
        errors.finish(pools).map_err(|errors| errors.iter().map(|fault| fault.key.clone()).collect())
    }
}
