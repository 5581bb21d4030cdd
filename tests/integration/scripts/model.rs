//! The scripts and their model in `src/shared_cache/model/oracle.rs` do the same: random sequences of
//! calls have the same replies and leave the same data. The scripts' clock is that of the test.

use std::collections::BTreeSet;

use cognito_lookup::shared_cache::scripts::ALL;

use super::sequence::{CLOCK, Sequence};
use crate::store::server::{Engine, Server};

#[tokio::test]
async fn the_model_does_what_the_scripts_do() {
    for engine in Engine::ALL {
        let server = Server::start(engine).await;
        let mut seen = BTreeSet::new();
        for seed in 0..SEEDS {
            let mut sequence = Sequence::new(seed, server.client().await, "").await;
            for _ in 0..STEPS {
                seen.extend(sequence.step().await.unwrap());
            }
        }
        assert_eq!(seen.iter().map(String::as_str).collect::<Vec<_>>(), BRANCHES, "{engine:?}");
    }
}

/// Without any of its rules a script does something else, and the comparison finds that.
#[tokio::test]
async fn each_rule_of_a_script_matters() {
    let server = Server::start(Engine::Valkey).await;
    for rule in RULES {
        assert_eq!(ALL.iter().filter(|script| script.source.contains(rule)).count(), 1, "{rule}");
        let mut differs = false;
        for seed in 0..SEEDS {
            let mut sequence = Sequence::new(seed, server.client().await, rule).await;
            for _ in 0..STEPS {
                differs = differs || sequence.step().await.is_err();
            }
            if differs {
                break;
            }
        }
        assert!(differs, "{rule}");
    }
}

/// The scripts have no other clock, so that a [`Sequence`] replaces all of them.
#[test]
fn each_script_reads_its_clock_at_most_once() {
    let clocks = ALL.map(|script| (script.name, script.source.matches("TIME").count()));
    let expected = [1, 1, 0, 0, 1, 1, 1, 1, 1, 1, 1];
    assert_eq!(clocks.map(|(_, count)| count), expected, "{clocks:?}");
    for script in ALL {
        assert_eq!(script.source.contains("TIME"), script.source.contains(CLOCK), "{}", script.name);
    }
}

/// The branches of the scripts.
const BRANCHES: [&str; 26] = [
    "invalidate erase",
    "invalidate erase after now",
    "invalidate erase what is older",
    "invalidate expire",
    "invalidate expire after now",
    "invalidate expire what is older",
    "look lead BUSY",
    "look lead FAILED",
    "look lead LEASED",
    "look lead LEASED with an old value",
    "look lead VALUE",
    "look peek BUSY",
    "look peek FAILED",
    "look peek NOTHING",
    "look peek NOTHING with an old value",
    "look peek VALUE",
    "put GONE",
    "put GONE though it has the lease",
    "put OK",
    "put OK and removes the groups",
    "release GONE",
    "release OK",
    "release OK and forgets",
    "release OK without a reason",
    "renew GONE",
    "renew OK",
];
/// Parts of the scripts, one rule each.
const RULES: [&str; 19] = [
    " and since > x",
    " and since <= now",
    " and since > tonumber(ARGV[4])",
    "\n  and now - since <= tonumber(ARGV[3])",
    " and owner ~= token",
    " and tonumber(ends) > now",
    " and tonumber(began) <= now",
    " and string.sub(held[5], 1, #waited) == waited",
    "redis.call('HDEL', key, kind .. 'f')",
    "if owner ~= ARGV[2] then return 'GONE' end",
    "owner ~= ARGV[2] or ",
    " or tonumber(since) <= tonumber(held[1] or 0)",
    "redis.call('HDEL', key, kind .. 'l', kind .. 'f')",
    "if ARGV[5] == '1' then redis.call('HDEL', key, 'g', 'gs') end",
    "if owner ~= token then return 'GONE' end",
    "if ARGV[4] == '1' then redis.call('HDEL', key, 'u', 'us') end",
    "for i = 2, 5 do x = math.max(x, tonumber(string.match(held[i] or '', '(%d+)$') or 0)) end",
    "redis.call('HDEL', key, 'ul', 'gl', 'uf', 'gf')",
    "if ARGV[1] == 'erase' then redis.call('HDEL', key, 'u', 'us', 'g', 'gs') end",
];
const SEEDS: u64 = 200;
const STEPS: usize = 60;
