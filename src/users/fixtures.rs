//! Shared parts of the tests of `users`.

use std::ops::Range;
pub(super) use std::time::Duration;

#[expect(unused_imports, reason = "each test module uses some of them")]
pub(super) use super::{
    cache::{EntryKind, Key},
    cognito::Cognito,
    entry::{CacheEntry, Content, Decision, LookupMethod, Ttls},
    limiter::{Account, Priority, QuotaCategory, RateLimiter},
};
#[expect(unused_imports, reason = "each test module uses some of them")]
pub(super) use crate::{
    auth::VerifiedTokens,
    clock::{BootTime, TimePoint},
    freshness::{FreshnessRequirement, Source, StaleReason},
    policy::{CallerRateLimit, LookupKey, Subject},
    pool::{BareSubLookup, Pool},
    telemetry::metrics::{Metrics, cache::CacheMetrics},
    user::{Sub, User, Username},
};

pub(crate) fn test_pool(bare_sub: BareSubLookup) -> Pool {
    Pool {
        id: "eu-west-1_A".parse().unwrap(),
        app_clients: ["client1".parse().unwrap()].into(),
        endpoint_url: None,
        issuers: Vec::new(),
        jwks_url: "http://127.0.0.1:1".parse().unwrap(),
        other_jwks_url: None,
        bare_sub,
        credentials: crate::config::AwsCredentials::Placeholder,
        region: "eu-west-1".into(),
        account: None,
        role: None,
    }
}

pub(crate) fn test_user(sub: &str) -> User {
    User {
        sub: sub.parse().unwrap(),
        username: "ada".parse().unwrap(),
        attributes: crate::attribute::Attributes::default(),
        status: crate::user::UserStatus::Confirmed,
        enabled: true,
        created_at: None,
        updated_at: None,
    }
}

/// An empty cache of verified tokens.
pub(crate) fn no_tokens() -> std::sync::Arc<VerifiedTokens> {
    std::sync::Arc::new(VerifiedTokens::new(
        1 << 20,
        &crate::config::RevocationSettings::default(),
        &Metrics::new(),
    ))
}

/// The account of a request about one user, of a caller with this number and limit of its own.
pub(super) fn account(caller: usize, misses_per_second: Option<usize>) -> Account {
    Account { priority: Priority::Single, caller_limit: CallerRateLimit { caller, misses_per_second } }
}

/// Returns the range in `MODEL_SEEDS`, or the first seeds.
pub(super) fn model_seeds(by_default: u64) -> Range<u64> {
    #[expect(clippy::disallowed_methods, reason = "an option of tests, no setting of the service")]
    let Ok(text) = std::env::var("MODEL_SEEDS") else { return 0..by_default };
    let (first, end) = text.split_once("..").expect("MODEL_SEEDS=FIRST..END");
    first.parse().expect("a first seed")..end.parse().expect("an end")
}

impl super::Users {
    /// Users of a pool that are cached, by fetches that began at these times of the system clock. There
    /// is no Cognito.
    pub(crate) fn with_cached(pool: &crate::pool::PoolId, began: &[(Sub, std::time::SystemTime)]) -> Self {
        let cache = crate::config::CacheSettings::default();
        let users = Self::new(
            std::collections::HashMap::new(),
            &cache,
            1,
            no_tokens(),
            None,
            CacheMetrics::default(),
        );
        for (sub, system) in began {
            users.cache_fetched(pool, sub, *system);
        }
        users
    }

    /// Caches a user as fetched at a time of the system clock.
    pub(crate) fn cache_fetched(&self, pool: &crate::pool::PoolId, sub: &Sub, at: std::time::SystemTime) {
        let key = Key { pool: pool.clone(), sub: sub.clone(), kind: EntryKind::Profile };
        let user = std::sync::Arc::new(test_user(sub.as_str()));
        let now = TimePoint::now();
        let age = at.elapsed().unwrap_or_default();
        let began = TimePoint { system: at, boot: now.boot - age };
        self.0.cache.put(key, CacheEntry::new(Content::Present(user), began));
    }

    /// As [`with_cached`](Self::with_cached) without users, for a replica of those on a store. It
    /// follows the store until it is dropped.
    pub(crate) fn replica(link: &std::sync::Arc<crate::shared_cache::model::ModelLink>) -> Self {
        use crate::shared_cache::fixtures::{index_key, sealer};
        let keys = ("cl".parse().unwrap(), index_key("index"), sealer("cl", &["value"]));
        let store = std::sync::Arc::clone(link);
        let store = crate::shared_cache::SharedCache::new(store, keys, None, Metrics::new().shared_entries);
        let (none, cache) = (std::collections::HashMap::new(), crate::config::CacheSettings::default());
        let users = Self::new(none, &cache, 1, no_tokens(), Some(store), CacheMetrics::default());
        #[expect(clippy::disallowed_methods, reason = "ends with the users")]
        tokio::spawn(super::shared::follow(std::sync::Arc::downgrade(&users.0)));
        users
    }

    /// Returns whether a user's token that was issued then is refused, and whether its groups are not
    /// believed.
    pub(crate) fn doubts(
        &self,
        pool: &crate::pool::PoolId,
        sub: &Sub,
        issued_at: std::time::SystemTime,
    ) -> [bool; 2] {
        let is_refused = self.0.tokens.revocations().refuses(pool, sub, issued_at);
        [is_refused, self.0.group_changes.outdates_token(pool, sub, issued_at)]
    }

    /// Returns the state of a user's entry.
    pub(crate) fn state_of(&self, pool: &crate::pool::PoolId, sub: &Sub) -> super::EntryState {
        self.entry_info(&Key { pool: pool.clone(), sub: sub.clone(), kind: EntryKind::Profile }).state
    }

    /// Returns whether a token of a user that was issued at this time is refused.
    pub(crate) fn refuses(&self, pool: &crate::pool::PoolId, sub: &Sub, at: std::time::SystemTime) -> bool {
        self.0.tokens.revocations().refuses(pool, sub, at)
    }
}
