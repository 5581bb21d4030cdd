use std::{
    collections::BTreeMap,
    fmt::Debug,
    time::{Duration, SystemTime},
};

use cognito_lookup::shared_cache::{
    Call, CallError, Event, EventKeys, Invalidate, LeaseToken, Look, NewLease, Publish, Put, Release, Renew,
    Reply, ServerTime, StreamEnd, StreamPosition, ValueKind,
    scripts::{PUT, RELEASE},
};

use self::oracle::Oracle;
use crate::store::client::{Answer, Client, list};

#[path = "../../../src/shared_cache/model/rate_limit.rs"]
#[expect(dead_code, reason = "the model of the store uses all of it")]
pub(super) mod rate_limit;
#[path = "../../../src/shared_cache/model/oracle.rs"]
#[expect(dead_code, reason = "the model of the store uses all of it")]
mod oracle;

/// Random calls of one seed, for a few users and one stream.
pub(super) struct Sequence {
    seed: u64,
    client: Client,
    oracle: Oracle,
    run: String,
    now: u64,
    tokens: [LeaseToken; 3],
    /// All sealed values differ.
    values: u32,
    /// A part of a script that is left out.
    left_out: &'static str,
}

impl Sequence {
    pub(super) async fn new(seed: u64, mut client: Client, left_out: &'static str) -> Self {
        fastrand::seed(seed);
        client.text("FLUSHALL").await;
        let info = client.text("INFO server").await;
        let run = info.lines().find_map(|line| line.strip_prefix("run_id:")).unwrap().to_owned();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_micros();
        let tokens = [(); 3].map(|()| LeaseToken::random());
        let (now, oracle) = (now.try_into().unwrap(), Oracle::default());
        Self { seed, client, oracle, run, now, tokens, values: 0, left_out }
    }

    /// Makes one call, and returns the name of the branch that it took, or how the script differs.
    pub(super) async fn step(&mut self) -> Result<Option<String>, String> {
        self.values += 1;
        let call = self.random_call();
        let is_of_events = call.keys.len() == 2;
        self.now += match call.script.name {
            // So that some events are too old for the next one, and the stream never is.
            "publish" => fastrand::u64(..1_500_000_000),
            _ => [0, 1, fastrand::u64(..2_000), fastrand::u64(..200_000)][fastrand::usize(..4)],
        };
        // A failover may set the clock back. Redis refuses an event that would be before the last one.
        let now = if is_of_events || fastrand::u8(..8) > 0 { self.now } else { self.now - 150_000 };
        let before = if is_of_events { BTreeMap::new() } else { self.fields(&call.keys[0]) };
        let expected = self.oracle.run(now, &self.run, &call).unwrap();
        let answer = self.call(&call, now).await;
        if answer.as_ref() != Ok(&expected) {
            return Err(format!("seed {}: {call:?} returned {answer:?}, not {expected:?}", self.seed));
        }
        if is_of_events {
            self.compare_events(&call.keys[1], now).await?;
            return Ok(None);
        }
        self.compare_user(&call.keys[0]).await?;
        Ok(Some(branch(&call, &expected, &before, now)))
    }

    /// Runs a script that takes this time for that of the server.
    async fn call(&mut self, call: &Call, now: u64) -> Answer {
        let (time, id) = ("{ARGV[#ARGV - 1], ARGV[#ARGV]}", format!("'{}-*'", now / 1_000));
        let mut script = call.script.source.replace(CLOCK, time).replace("'*'", &id);
        if !self.left_out.is_empty() {
            script = script.replace(self.left_out, "");
        }
        let mut call = call.clone();
        call.args.extend([now / 1_000_000, now % 1_000_000].map(|part| part.to_string().into_bytes()));
        self.client.eval("EVAL", &script, &call).await
    }

    fn fields(&self, key: &str) -> BTreeMap<String, Vec<u8>> {
        self.oracle.user(key).map(|user| user.fields()).unwrap_or_default()
    }

    async fn compare_user(&mut self, key: &str) -> Result<(), String> {
        let parts = list(self.client.command(&format!("HGETALL {key}")).await.unwrap());
        let pairs =
            parts.chunks(2).map(|pair| (String::from_utf8(pair[0].clone()).unwrap(), pair[1].clone()));
        self.expect(pairs.collect::<BTreeMap<_, _>>(), self.fields(key))?;
        // A hash without a TTL would stay for ever.
        let ttl = self.client.command(&format!("PTTL {key}")).await.unwrap();
        self.expect(matches!(ttl, Reply::Int(-2 | 1..)), true)
    }

    async fn compare_events(&mut self, stream: &str, now: u64) -> Result<(), String> {
        let events = self.oracle.events(now, stream, &StreamPosition("0-0".into()));
        let parts = list(self.client.command(&format!("XRANGE {stream} - +")).await.unwrap());
        let [n, e] = ["n", "e"].map(|name| name.as_bytes().to_vec());
        let fields = events.into_iter().map(|Event { position, number, sealed }| {
            [position.0.into_bytes(), n.clone(), number.to_string().into_bytes(), e.clone(), sealed]
        });
        self.expect(parts, fields.flatten().collect())
    }

    fn expect<T: Debug + PartialEq>(&self, actual: T, expected: T) -> Result<(), String> {
        if actual == expected {
            return Ok(());
        }
        Err(format!("seed {}: {actual:?} is not {expected:?}", self.seed))
    }

    fn random_call(&self) -> Call {
        let key = ["cl:1:{a}", "cl:1:{b}"][fastrand::usize(..2)];
        let kind = if fastrand::bool() { ValueKind::Profile } else { ValueKind::Groups };
        let [token, waited_for] = [(); 2].map(|()| &self.tokens[fastrand::usize(..3)]);
        let sealed = format!("sealed \r\n\0 {}", self.values).into_bytes();
        let keys = EventKeys::new("cl");
        match fastrand::u8(..20) {
            0..8 => Look {
                kind,
                lease: (fastrand::u8(..4) > 0).then_some(NewLease {
                    token,
                    lasts: micros(100_000),
                    ttl: TTL,
                }),
                max_age: if fastrand::bool() { Duration::MAX } else { micros(300_000) },
                newer_than: ServerTime::from_micros(if fastrand::u8(..4) > 0 { 0 } else { self.now - 1_000 }),
                waited_for: fastrand::bool().then_some(waited_for),
            }
            .call(key),
            8..10 => Renew { kind, token, lasts: micros(200_000) }.call(key),
            10..13 => {
                Put { kind, token, sealed: &sealed, ttl: TTL, absent: fastrand::u8(..4) == 0 }.call(key)
            }
            13..16 => {
                let reason = fastrand::bool().then_some("the reason: other");
                Release { kind, token, reason, forget: fastrand::u8(..4) == 0 }.call(key)
            }
            16..18 => {
                let least_age = if fastrand::bool() { Duration::ZERO } else { micros(300_000) };
                Invalidate { erase: fastrand::bool(), least_age, ttl: TTL }.call(key)
            }
            18 => {
                let keep = Duration::from_secs(3_600);
                Publish { sealed: &sealed, keep, max_len: 1_000, needed_for: keep }.call(&keys)
            }
            _ => StreamEnd::call(&keys),
        }
    }
}

/// Names what a script did to a hash with these fields.
fn branch(call: &Call, reply: &Reply, before: &BTreeMap<String, Vec<u8>>, now: u64) -> String {
    let arg = |index: usize| String::from_utf8_lossy(&call.args[index]).into_owned();
    let script = call.script.name;
    match reply {
        Reply::Array(parts) => {
            let Reply::Bytes(status) = &parts[2] else { panic!("{parts:?}") };
            let status = String::from_utf8_lossy(status);
            let old = matches!(&*status, "LEASED" | "NOTHING")
                && parts.len() > 4 - usize::from(status == "NOTHING");
            format!("{script} {} {status}{}", arg(1), if old { " with an old value" } else { "" })
        }
        Reply::Int(x) => {
            let more = match () {
                () if *x > now as i64 => " after now",
                () if arg(2) != "0" => " what is older",
                () => "",
            };
            format!("{script} {}{more}", arg(0))
        }
        Reply::Bytes(status) => {
            let lease = before.get(&format!("{}l", arg(0)));
            let holds = lease.is_some_and(|lease| lease.starts_with(arg(1).as_bytes()));
            let status = String::from_utf8_lossy(status);
            let more = match () {
                () if status == "GONE" && holds => " though it has the lease",
                () if status == "GONE" => "",
                () if *call.script == PUT && arg(4) == "1" => " and removes the groups",
                () if *call.script == RELEASE && arg(2).is_empty() => " without a reason",
                () if *call.script == RELEASE && arg(3) == "1" => " and forgets",
                () => "",
            };
            format!("{script} {status}{more}")
        }
        Reply::Nil => panic!("no script returns nil"),
    }
}

fn micros(micros: u64) -> Duration {
    Duration::from_micros(fastrand::u64(1..=micros))
}

/// How a script reads its clock.
pub(super) const CLOCK: &str = "redis.call('TIME')";
/// Nothing ends in a test.
const TTL: Duration = Duration::from_secs(100_000);
