//! The scripts of the rate limit and their model in `src/shared_cache/model/rate_limit.rs` do the same:
//! random sequences of calls have the same replies. The scripts' clock, and the run of their server,
//! are those of the test.

use std::collections::BTreeSet;

use cognito_lookup::shared_cache::scripts::{END, SYNC, TAKE, TUNE};

use super::limit_sequence::LimitSequence;
use crate::store::server::{Engine, Server};

#[tokio::test]
async fn the_model_does_what_the_scripts_of_the_rate_limit_do() {
    for engine in Engine::ALL {
        let server = Server::start(engine).await;
        let mut seen = BTreeSet::new();
        for seed in 0..SEEDS {
            let mut sequence = LimitSequence::new(seed, server.client().await, ("", "")).await;
            for _ in 0..STEPS {
                seen.insert(sequence.step().await.unwrap());
            }
        }
        assert_eq!(seen.iter().map(String::as_str).collect::<Vec<_>>(), BRANCHES, "{engine:?}");
    }
}

/// With another text for any of its rules a script does something else, and the comparison finds that.
#[tokio::test]
async fn each_rule_of_the_rate_limit_matters() {
    let server = Server::start(Engine::Valkey).await;
    let mut useless = Vec::new();
    for rule in RULES {
        let is_part = |source: &str| source.matches(rule.0).count() == 1;
        assert!([&SYNC, &TAKE, &END, &TUNE].iter().any(|script| is_part(script.source)), "{}", rule.0);
        let mut differs = None;
        for seed in 0..SEEDS {
            let mut sequence = LimitSequence::new(seed, server.client().await, rule).await;
            for _ in 0..STEPS {
                differs = differs.or(sequence.step().await.err());
            }
            if differs.is_some() {
                break;
            }
        }
        match differs {
            None => useless.push(rule.0),
            Some(how) => assert!(!how.contains("ERR"), "{} fails instead: {how}", rule.0),
        }
    }
    assert!(useless.is_empty(), "nothing differs without any of {useless:#?}");
}

/// The branches of the scripts.
const BRANCHES: [&str; 17] = [
    "end",
    "end charged to the caller",
    "end of a call that was not made",
    "sync",
    "sync begins an epoch",
    "sync of an open epoch",
    "take CALLER",
    "take CLOCK",
    "take EPOCH",
    "take FULL",
    "take FULL in the background",
    "take GRANTED",
    "take GRANTED in the background",
    "take USER",
    "take WARM",
    "tune",
    "tune after throttling",
];
/// Parts of the scripts, one rule each, and what stands there when the rule is off.
const RULES: [(&str, &str); 37] = [
    (" and run == epoch_run", ""),
    ("now >= earliest and ", ""),
    (" and now <= latest", ""),
    (" and (is_watched or now >= tonumber(open or 0))", ""),
    (" - (latest - earliest)", ""),
    ("is_watched and now < tonumber(open or 0)", "false"),
    (" or is_back", ""),
    (" or not redis.call('ZSCORE', log, 'log')", ""),
    ("if not is_in_time then return {now, 'CLOCK'} end", ""),
    ("if not judged then return {now, 'WARM'} end", "judged = judged or now"),
    (" + before - most", " - most"),
    ("local wait = opens_in(user_log, 10, 0)", "local wait = 0"),
    ("waits_for_own == '1' and opens_in(own_log, own, 0) or 0", "0"),
    ("if is_background then rate = math.max(1, math.floor(rate / 2)) end", ""),
    ("leave_line(redis.call('ZRANGEBYSCORE', waits, 0, now))", ""),
    ("if paced > now + step then paced = now end", ""),
    (" + (is_background and 125000 or 0)", ""),
    (" + before * step", ""),
    ("if now - judged > 1000000 then return {now, 'WARM'} end", ""),
    ("now + 4100000, call", "now + 1010000, call"),
    ("leave_line({place})", ""),
    ("math.floor((now - at) / 4)", "0"),
    ("(others == '1' or line > 0) and ", "false and "),
    ("if is_new then redis.call('HSET', state, own_field, turn + 1) end", ""),
    ("now + wait + 50000", "now + wait"),
    (" or now < earliest", ""),
    (" or now < tonumber(open or 0) and ARGV[4] == '0'", ""),
    ("own > 0 and 4 or 3", "3"),
    (" + 1010000 * math.ceil(over / own)", ""),
    ("run ~= epoch_run or ", ""),
    ("(is_back or ARGV[5] == '1')", "is_back"),
    ("redis.call('ZADD', KEYS[i], 'inf', 'log') == 1", "redis.call('ZADD', KEYS[i], 'inf', 'log') == 2"),
    ("now + 4100001, 9e15) > 0", "now + 4100001, 9e15) > 9e15"),
    ("redis.call('HDEL', state, 'open')", ""),
    ("redis.call('DEL', KEYS[i + 1], KEYS[i + 2])", ""),
    (" and since >= 1000000", ""),
    ("now >= tonumber(at) and now - at or 9e15", "math.abs(now - at)"),
];
const SEEDS: u64 = 200;
const STEPS: usize = 120;
