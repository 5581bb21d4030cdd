//! Metrics of access tokens and of the keys that verify them.

use std::{sync::atomic::AtomicU64, time::SystemTime};

use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge};

use super::{EnumFamily, Label as _, unix_seconds};

type PoolLabel = [(&'static str, String); 1];

metric_set! {
    /// Metrics of access tokens and of the keys that verify them; cheap to clone.
    pub struct TokenMetrics {
        /// Lookups in the cache of verified access tokens.
        pub lookups: EnumFamily<TokenLookupResult, Counter> = "verdict_cache_requests",
        /// Access tokens in the cache of verified tokens.
        pub entries: Gauge = "verdict_cache_entries",
        /// Fetches of a user pool's signing keys (JWKS), by outcome.
        jwks_fetches: Family<(PoolLabel, JwksFetchOutcome), Counter> = "jwks_fetches",
        /// Unix time in seconds at which the signing keys in use of a user pool were fetched; 0 if
        /// never.
        jwks_fetched: Family<PoolLabel, Gauge<f64, AtomicU64>> = "jwks_fetched_timestamp_seconds",
        /// Signing keys in use of a user pool; 0 if none were ever fetched.
        jwks_keys: Family<PoolLabel, Gauge> = "jwks_keys",
        /// Access tokens that were presented and refused because they were revoked, by user pool.
        revoked: Family<PoolLabel, Counter> = "tokens_revoked",
        /// Revocations of access tokens in memory, each of a user or of a session.
        pub marks: Gauge = "revocation_marks",
        /// 1 if the revocations of the other replicas were read since the start, or if there is no
        /// shared cache; else 0, and a token that was revoked before the start may be accepted.
        pub caught_up: Gauge = "revocations_caught_up",
        /// Revocations that this replica could not publish in the shared cache yet, and repeats. Other
        /// replicas may accept their tokens.
        pub unpublished: Gauge = "revocations_unpublished",
        /// Checks of users' tokens at Cognito, by outcome.
        pub online_checks: EnumFamily<OnlineCheckOutcome, Counter> = "revocation_online_checks",
        /// Revocations dropped before their end because there are too many. Tokens that they refused
        /// are accepted again.
        pub marks_dropped: Counter = "revocation_marks_dropped",
    }
}

impl TokenMetrics {
    /// Returns the counter of a configured pool's tokens that were refused because they were
    /// revoked.
    pub fn revoked(&self, pool: &str) -> Counter {
        self.revoked.get_or_create_owned(&[("pool", pool.to_owned())])
    }

    /// Returns the metrics of the signing keys of a configured pool, with all of their series.
    pub fn jwks(&self, pool: &str) -> JwksMetrics {
        let pool = [("pool", pool.to_owned())];
        for (outcome, _) in JwksFetchOutcome::ALL {
            drop(self.jwks_fetches.get_or_create(&(pool.clone(), *outcome)));
        }
        drop(self.jwks_fetched.get_or_create(&pool));
        drop(self.jwks_keys.get_or_create(&pool));
        JwksMetrics { metrics: self.clone(), pool }
    }
}

/// Metrics of one pool's signing keys.
#[derive(Clone, Debug)]
pub struct JwksMetrics {
    metrics: TokenMetrics,
    pool: PoolLabel,
}

impl JwksMetrics {
    /// Sets how many keys are in use.
    pub fn set_keys(&self, keys: usize) {
        let keys = i64::try_from(keys).unwrap_or(i64::MAX);
        self.metrics.jwks_keys.get_or_create(&self.pool).set(keys);
    }

    /// Counts a fetch that ended now.
    pub fn fetch_ended(&self, outcome: JwksFetchOutcome) {
        self.metrics.jwks_fetches.get_or_create(&(self.pool.clone(), outcome)).inc();
        if outcome == JwksFetchOutcome::Ok {
            self.metrics.jwks_fetched.get_or_create(&self.pool).set(unix_seconds(SystemTime::now()));
        }
    }
}

label! {
    /// How a fetch of signing keys ended.
    pub enum JwksFetchOutcome = "outcome" {
        /// The response broke off or was too large.
        Body,
        /// There was no connection, or it failed.
        Connection,
        /// The response had no usable set of keys.
        Keys,
        /// The response had keys.
        Ok,
        /// The status was not 200.
        Status,
        /// The response took too long.
        Timeout,
    }
}

label! {
    /// What a check of a user's token at Cognito found. Only revoked ones are refused.
    pub enum OnlineCheckOutcome = "outcome" {
        /// The token expires within seconds, so Cognito was not asked.
        Expiring,
        /// Cognito did not answer, or its answer says nothing.
        Failed,
        /// The answer came too late for the call that waited for it. It counts for the next one.
        Late,
        /// The rate limit, or the circuit breaker, had no call left.
        Refused,
        /// Cognito says that the token is revoked, or that its user is deleted.
        Revoked,
        /// Cognito throttled the call.
        Throttled,
        /// The token lacks the scope `aws.cognito.signin.user.admin`, which `GetUser` needs.
        Unscoped,
        /// Cognito accepts the token.
        Valid,
    }
}

label! {
    /// Whether a token was in the cache.
    pub enum TokenLookupResult = "result" {
        /// It was.
        Hit,
        /// It was not.
        Miss,
    }
}
