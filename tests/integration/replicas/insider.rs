use cognito_lookup::{
    config::{Config, ErrorCollector, SharedCacheSettings},
    pool::PoolId,
    shared_cache::{
        Binding, LeaseToken, Look, LookOutcome, Looked, NewLease, Put, Script, ServerTime, SharedCacheConfig,
        ValueKind,
    },
    user::Sub,
};

use super::fleet::Fleet;
use crate::store::client::{Client, list};

/// Reads and writes the store as a replica does, with its keys.
pub(crate) struct Insider {
    config: SharedCacheConfig,
    pool: PoolId,
    pub(crate) client: Client,
}

impl Insider {
    pub(crate) fn new(fleet: &Fleet, client: Client) -> Self {
        let shared_cache = SharedCacheSettings {
            url: Some("redis://127.0.0.1:1".to_owned()),
            index_key_file: Some(fleet.path("index")),
            value_key_files: vec![fleet.path("value")],
            ..SharedCacheSettings::default()
        };
        let config = Config { shared_cache, ..Config::default() };
        let mut errors = ErrorCollector::new(&config);
        let config = SharedCacheConfig::read(&config, &mut errors).unwrap();
        Self { config, pool: fleet.cognito.pool_id().parse().unwrap(), client }
    }

    /// Returns the key of a user in the store.
    pub(crate) fn key(&self, sub: &str) -> String {
        let sub = sub.parse().unwrap();
        self.config.index_key.user(&self.config.namespace, &self.pool, &sub).as_str().to_owned()
    }

    /// Returns what the store has of a user: names of fields, and their values.
    pub(crate) async fn fields(&mut self, sub: &str) -> Vec<Vec<u8>> {
        let command = format!("HGETALL {}", self.key(sub));
        list(self.client.command(&command).await.unwrap())
    }

    /// Puts the profile that `entry` makes of the time of the lease, as the fetch of a replica does.
    pub(crate) async fn put(&mut self, sub: &str, entry: impl FnOnce(ServerTime) -> Vec<u8>) {
        let (key, token, user) = (self.key(sub), LeaseToken::random(), sub.parse::<Sub>().unwrap());
        let lease = NewLease { token: &token, lasts: TTL, ttl: TTL };
        let look = Look {
            kind: ValueKind::Profile,
            lease: Some(lease),
            max_age: TTL,
            newer_than: ServerTime::ZERO,
            waited_for: None,
        };
        let looked = Looked::parse(self.client.call(&look.call(&key)).await.unwrap()).unwrap();
        let LookOutcome::Leased { since, .. } = looked.outcome else { panic!("{:?}", looked.outcome) };
        let binding = Binding::Value { pool: &self.pool, sub: &user, kind: ValueKind::Profile };
        let sealed = self.config.sealer().seal(binding, &entry(since)).unwrap();
        let put = Put { kind: ValueKind::Profile, token: &token, sealed: &sealed, ttl: TTL, absent: false };
        self.client.call(&put.call(&key)).await.unwrap();
    }

    /// Copies what the store has of one kind of a user to a kind of another one.
    pub(crate) async fn copy(&mut self, from: (&str, &str), to: (&str, &str)) {
        let keys = [from.0, to.0].map(|sub| self.key(sub)).to_vec();
        let args = [from.1, to.1].map(|kind| kind.as_bytes().to_vec()).to_vec();
        let call = cognito_lookup::shared_cache::Call { script: &COPY, keys, args };
        self.client.call(&call).await.unwrap();
    }
}

static COPY: Script = Script {
    name: "copy",
    source: "local from, to = ARGV[1], ARGV[2]
        local value = redis.call('HMGET', KEYS[1], from, from .. 's')
        redis.call('HSET', KEYS[2], to, value[1], to .. 's', value[2])
        return 1",
};
const TTL: std::time::Duration = std::time::Duration::from_secs(60);
