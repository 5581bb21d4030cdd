use serde_json::{json, value::Serializer};

use super::*;
use crate::config::{Config, Flag, Sources};

type AnyDuration = Bounded<Duration, 0, { u64::MAX }>;
type AnySize = Bounded<u64, 0, { u64::MAX }>;
type Rate = Bounded<Option<usize>, 1, 100>;

#[test]
fn durations_and_sizes_are_read_as_they_are_shown() {
    for (text, millis, shown) in [
        ("60s", 60_000, "1min"),
        ("15min", 900_000, "15min"),
        ("1h 30m", 5_400_000, "90min"),
        ("24h", 86_400_000, "24h"),
        ("5ms", 5, "5ms"),
        ("0s", 0, "0s"),
    ] {
        let duration = AnyDuration::deserialize(json!(text)).unwrap();
        assert_eq!(duration.as_millis(), millis, "{text}");
        assert_eq!(AnyDuration::serialize(&duration, Serializer).unwrap(), shown);
        assert_eq!(AnyDuration::deserialize(json!(shown)).unwrap(), duration);
    }
    for (value, bytes, shown) in [
        (json!("256MiB"), 268_435_456, "256MiB"),
        (json!("1 kB"), 1000, "1000"),
        (json!(7), 7, "7"),
        (json!("7"), 7, "7"),
        (json!(0), 0, "0"),
        (json!(1_u64 << 40), 1 << 40, "1TiB"),
    ] {
        assert_eq!(AnySize::deserialize(&value).unwrap(), bytes, "{value}");
        assert_eq!(AnySize::serialize(&bytes, Serializer).unwrap(), shown);
        assert_eq!(AnySize::deserialize(json!(shown)).unwrap(), bytes);
    }
}

#[test]
fn rates_are_read_from_every_source() {
    for (value, expected) in [(json!(20), Some(20)), (json!("20"), Some(20)), (Value::Null, None)] {
        assert_eq!(Rate::deserialize(&value).unwrap(), expected, "{value}");
    }
    for value in [json!(-1), json!(1.5), json!("x"), json!(""), json!(true), json!([1]), json!(0), json!(101)]
    {
        assert!(Rate::deserialize(&value).is_err(), "{value}");
    }
}

#[test]
fn the_bounds_themselves_are_within() {
    for (key, value) in [
        ("cache.fresh_for", "1ms"),
        ("cache.usable_for", "24h"),
        ("cache.absent_for", "1h"),
        ("cache.max_bytes", "1MiB"),
        ("cache.max_absent_bytes", "1"),
        ("cache.max_token_bytes", "1"),
        ("limits.request_timeout", "10ms"),
        ("shutdown.delay", "0s"),
        ("shutdown.grace", "10min"),
        ("budget.user_reads_per_second", "1"),
        ("budget.lists_per_second", "100000"),
    ] {
        assert_eq!(error(key, value), None, "{key}");
    }
}

#[test]
fn a_value_outside_its_bounds_is_an_error() {
    for (key, value, expected) in [
        ("cache.fresh_for", "24h 1ns", "1day 1ns is out of bounds; expected 1ms to 24h"),
        ("cache.absent_for", "0s", "0s is out of bounds; expected 1ms to 1h"),
        ("limits.request_timeout", "61s", "1m 1s is out of bounds; expected 10ms to 1min"),
        ("shutdown.delay", "10min 1ns", "10m 1ns is out of bounds; expected 0s to 10min"),
        ("shutdown.grace", "1h", "1h is out of bounds; expected 0s to 10min"),
        ("tls.check_every", "99ms", "99ms is out of bounds; expected 100ms to 1h"),
        ("audit.max_bytes", "1073741825", "1073741825 is out of bounds; expected 512KiB to 1GiB"),
        ("limits.header_list", "4095", "4095 is out of bounds; expected 4KiB to 1MiB"),
        ("cache.max_bytes", "1048575", "1048575 is out of bounds; expected 1MiB to 1024TiB"),
        ("cache.max_absent_bytes", "0", "0 is out of bounds; expected 1 to 1024TiB"),
        ("cache.max_token_bytes", "0", "0 is out of bounds; expected 1 to 1024TiB"),
        ("workers", "1025", "1025 is out of bounds; expected 0 to 1024"),
        ("limits.streams", "0", "0 is out of bounds; expected 1 to 10000"),
        ("budget.user_reads_per_second", "0", "0 is out of bounds; expected 1 to 100000"),
        ("budget.lists_per_second", "0", "0 is out of bounds; expected 1 to 100000"),
        ("budget.group_reads_per_second", "100001", "100001 is out of bounds; expected 1 to 100000"),
        ("callers[0].misses_per_second", "0", "0 is out of bounds; expected 1 to 100000"),
    ] {
        assert_eq!(error(key, value), Some(format!("{key}: {expected} (from flag --it)")));
    }
}

fn error(key: &'static str, value: &str) -> Option<String> {
    let flags = vec![Flag { key, name: "--it", value: value.to_owned() }];
    let config = Config::load(Sources { flags, ..Sources::default() });
    config.and_then(Config::validated).err().map(|errors| errors.to_string())
}
