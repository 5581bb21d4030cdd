use std::{fs, os::unix::fs::PermissionsExt as _, time::Duration};

use cognito_lookup::{
    config::{Config, ErrorCollector, SharedCacheSettings},
    shared_cache::{
        Call, Reply, ServerTime, SharedCacheConfig, UserKey,
        rate_limit::{
            CallKey, CallerKey, CallerPlace, ClockBounds, End, OwnLimit, RateLimitKeys, Sync, Take, Tune,
        },
    },
};
use tempfile::TempDir;

use super::sequence::{CLOCK, rate_limit::RateStore};
use crate::store::client::{Answer, Client};

/// Random calls of one seed, of a few replicas, callers and users.
pub(super) struct LimitSequence {
    seed: u64,
    client: Client,
    store: RateStore,
    keys: RateLimitKeys,
    users: [UserKey; 3],
    callers: [CallerKey; 2],
    /// The epochs that a sync has returned.
    epochs: Vec<String>,
    /// The number of the server's run.
    run: u32,
    now: u64,
    limit: usize,
    granted: Vec<Granted>,
    last_number: u64,
    /// A part of a script, and what stands in its place.
    changed: (&'static str, &'static str),
}

/// A call that may end.
#[derive(Clone, Copy)]
struct Granted {
    number: u64,
    category: &'static str,
    user: usize,
    /// The caller and its own limit.
    charged: Option<(usize, usize)>,
}

impl LimitSequence {
    pub(super) async fn new(seed: u64, mut client: Client, changed: (&'static str, &'static str)) -> Self {
        fastrand::seed(seed);
        client.text("FLUSHALL").await;
        Self {
            seed,
            client,
            store: RateStore::default(),
            keys: RateLimitKeys::new("cl:b1:{limit}".to_owned()),
            users: users(),
            callers: ["one", "two"].map(|name| CallerKey::new(name.to_owned())),
            epochs: vec![String::new()],
            run: 0,
            now: 1_800_000_000_000_000,
            // Many calls at once reach the limit of a user, and few that of a category.
            limit: if seed.is_multiple_of(2) { fastrand::usize(1..=6) } else { 40 },
            granted: Vec::new(),
            last_number: 0,
            changed,
        }
    }

    /// Makes one call, and returns the name of the branch that it took, or how the script differs.
    pub(super) async fn step(&mut self) -> Result<String, String> {
        self.change_server().await;
        let longest = if self.limit == 40 { 2 } else { 5 };
        self.now += [0, fastrand::u64(..60_000), 1, fastrand::u64(..200_000), fastrand::u64(..1_200_000)]
            [fastrand::usize(..longest)];
        let (call, granted) = self.random_call();
        let run = format!("run{}", self.run);
        let expected = self.store.run(self.now, &run, &call).unwrap();
        let answer = self.call(&call, &run).await;
        if answer.as_ref() != Ok(&expected) {
            return Err(format!("seed {}: {call:?} returned {answer:?}, not {expected:?}", self.seed));
        }
        Ok(self.note(&call, granted, &expected))
    }

    /// Lets the server fail over, lose data or have its clock set back, now and then.
    async fn change_server(&mut self) {
        match fastrand::u8(..120) {
            0 | 1 => self.run += 1,
            2 | 3 => {
                let category = fastrand::usize(..3);
                self.store.evict(category);
                let deleted = format!("DEL cl:b1:{{limit}}:{}", CATEGORIES[category]);
                self.client.command(&deleted).await.unwrap();
            }
            4 => {
                self.store = RateStore::default();
                self.client.text("FLUSHALL").await;
            }
            5..9 => self.now -= fastrand::u64(..6_000_000),
            _ => {}
        }
    }

    /// Runs a script that takes the test's time and run for those of the server.
    async fn call(&mut self, call: &Call, run: &str) -> Answer {
        let time = format!("{{'{}', '{}'}}", self.now / 1_000_000, self.now % 1_000_000);
        let source = call.script.source.replace(CLOCK, &time).replace(RUN, &format!("'run_id:{run}'"));
        let script =
            if self.changed.0.is_empty() { source } else { source.replace(self.changed.0, self.changed.1) };
        self.client.eval("EVAL", &script, call).await
    }

    fn random_call(&mut self) -> (Call, Option<Granted>) {
        let epoch = match fastrand::u8(..12) {
            0 => self.epochs[fastrand::usize(..self.epochs.len())].clone(),
            _ => self.epochs[self.epochs.len() - 1].clone(),
        };
        let clock = self.random_bounds(&epoch);
        match fastrand::u8(..20) {
            0..3 => {
                let sync = Sync { clock, was_set_back: fastrand::u8(..20) == 0, categories: &CATEGORIES };
                (sync.call(&self.keys), None)
            }
            3 | 4 => {
                let quota = fastrand::bool().then(|| fastrand::usize(1..200));
                let tune = Tune { category: random_category(), quota, is_throttled: fastrand::bool() };
                (tune.call(&self.keys), None)
            }
            5..9 if !self.granted.is_empty() => {
                let granted = self.granted[fastrand::usize(..self.granted.len())];
                (self.end(granted, clock), None)
            }
            _ => self.take(clock),
        }
    }

    fn random_bounds<'a>(&self, epoch: &'a str) -> ClockBounds<'a> {
        let (earliest, latest) = match fastrand::u8(..12) {
            0 => (self.now + 1, self.now + 2_000),
            1 => (self.now - 2_000, self.now - 1),
            _ => (self.now - fastrand::u64(..80_000), self.now + fastrand::u64(..20_000)),
        };
        let [earliest, latest] = [earliest, latest].map(ServerTime::from_micros);
        ClockBounds { epoch, earliest, latest, is_watched: fastrand::u8(..4) > 0 }
    }

    fn take(&mut self, clock: ClockBounds<'_>) -> (Call, Option<Granted>) {
        self.last_number += 1;
        let (category, user) = (random_category(), [0, 0, 0, 1, 2][fastrand::usize(..5)]);
        let caller = (fastrand::u8(..5) > 0).then(|| fastrand::usize(..2));
        let own_limit = (caller == Some(0) && fastrand::bool())
            .then(|| OwnLimit { per_second: fastrand::usize(1..=2), delays: fastrand::u8(..4) > 0 });
        let replica = ["a", "b", "c"][fastrand::usize(..3)];
        let take = Take {
            clock,
            call: &CallKey::new("a", self.last_number),
            category,
            limit: self.limit,
            user: &self.users[user],
            caller: caller.map(|caller| CallerPlace {
                caller: &self.callers[caller],
                replica,
                others_wait: fastrand::bool(),
                own_limit,
            }),
        };
        let charged = caller.zip(own_limit.map(|limit| limit.per_second));
        let granted = Granted { number: self.last_number, category, user, charged };
        (take.call(&self.keys), Some(granted))
    }

    fn end(&self, granted: Granted, clock: ClockBounds<'_>) -> Call {
        let counts = [0, 1_010, 1_010, 2_020][fastrand::usize(..4)];
        let end = End {
            clock,
            call: &CallKey::new("a", granted.number),
            category: granted.category,
            user: &self.users[granted.user],
            caller: granted.charged.map(|(caller, limit)| (&self.callers[caller], limit)),
            counts_for: Duration::from_millis(counts),
        };
        end.call(&self.keys)
    }

    /// Notes what a call has led to, and names its branch.
    fn note(&mut self, call: &Call, granted: Option<Granted>, reply: &Reply) -> String {
        let Reply::Array(parts) = reply else { panic!("{reply:?}") };
        let text = |part: &Reply| match part {
            Reply::Bytes(text) => String::from_utf8(text.clone()).unwrap(),
            other => panic!("{other:?}"),
        };
        let arg = |index: usize| String::from_utf8(call.args[index].clone()).unwrap();
        let more = match call.script.name {
            "sync" => {
                let epoch = text(&parts[1]);
                let is_new = self.epochs.last() != Some(&epoch);
                self.epochs.push(epoch);
                let is_open = parts[2] == Reply::Int(1);
                if is_new {
                    " begins an epoch"
                } else if is_open {
                    " of an open epoch"
                } else {
                    ""
                }
                .to_owned()
            }
            "take" => {
                let outcome = text(&parts[1]);
                self.granted.extend(granted.filter(|_| outcome == "GRANTED"));
                let is_background = arg(7).is_empty() && parts.len() > 4 - usize::from(outcome == "GRANTED");
                format!(" {outcome}{}", if is_background { " in the background" } else { "" })
            }
            "end" if arg(5) == "0" => " of a call that was not made".to_owned(),
            "end" if arg(6) != "0" => " charged to the caller".to_owned(),
            "tune" if arg(2) == "1" => " after throttling".to_owned(),
            _ => String::new(),
        };
        format!("{}{more}", call.script.name)
    }
}

/// Returns the keys of a few users, as replicas make them.
fn users() -> [UserKey; 3] {
    let folder = TempDir::new().unwrap();
    let [index, value] = ["index", "value"].map(|name| {
        let path = folder.path().join(name);
        fs::write(&path, format!("00112233445566778899aabbccddeeff {name}")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path.display().to_string()
    });
    let shared_cache = SharedCacheSettings {
        url: Some("redis://127.0.0.1:1".to_owned()),
        index_key_file: Some(index),
        value_key_files: vec![value],
        ..SharedCacheSettings::default()
    };
    let config = Config { shared_cache, ..Config::default() };
    let config = SharedCacheConfig::read(&config, &mut ErrorCollector::new(&config)).unwrap();
    let pool = "eu-west-1_A".parse().unwrap();
    ["ada", "bob", "eve"].map(|sub| config.index_key.user(&config.namespace, &pool, &sub.parse().unwrap()))
}

fn random_category() -> &'static str {
    // Mostly one, so that it is full.
    CATEGORIES[[0, 0, 0, 1, 2][fastrand::usize(..5)]]
}

const CATEGORIES: [&str; 3] = ["UserRead", "UserList", "UserResourceRead"];
/// How a script reads the run of its server.
const RUN: &str = "redis.pcall('INFO', 'server')";
