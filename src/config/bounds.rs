//! The bounds of the settings, beyond their types.

use std::{ops::RangeInclusive, time::Duration};

use humantime::format_duration;

use super::{
    Config, Origin,
    faults::{Collector, Faults},
    text,
};

/// Checks that every number is within its bounds; fails with every key that is not.
pub(super) fn check(config: &Config) -> Result<(), Faults> {
    let mut faults = Faults::collector(config);
    durations(config, &mut faults);
    sizes(config, &mut faults);
    faults.finish(Some(()))
}

fn durations(config: &Config, faults: &mut Collector<'_>) {
    let (cache, limits, shutdown) = (&config.cache, &config.limits, &config.shutdown);
    for (key, value, bounds) in [
        ("cache.fresh_for", cache.fresh_for, MILLISECOND..=DAY),
        ("cache.usable_for", cache.usable_for, cache.fresh_for.min(DAY)..=DAY),
        ("cache.absent_for", cache.absent_for, MILLISECOND..=HOUR),
        ("limits.request_timeout", limits.request_timeout, REQUEST),
        ("shutdown.delay", shutdown.delay, PAUSE),
        ("shutdown.grace", shutdown.grace, PAUSE),
    ] {
        if !bounds.contains(&value) {
            let [value, low, high] = [value, *bounds.start(), *bounds.end()].map(format_duration);
            // The fault will say that nothing set it, so the reader must learn here whose value it is.
            let whose = if config.origin(key) == Origin::Default { "the default " } else { "" };
            faults.add(key, format!("{whose}{value} is out of bounds: from {low} to {high}"));
        }
    }
}

fn sizes(config: &Config, faults: &mut Collector<'_>) {
    for (key, value, low) in [
        ("cache.max_bytes", config.cache.max_bytes, bytesize::MIB),
        ("cache.max_absent_bytes", config.cache.max_absent_bytes, 1),
    ] {
        if value < low {
            let [value, low] = [value, low].map(text::size::format);
            faults.add(key, format!("{value} is out of bounds: at least {low}"));
        }
    }
}

const MILLISECOND: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
const REQUEST: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(60);
const PAUSE: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(change: impl FnOnce(&mut Config)) -> Vec<String> {
        let mut config = Config::default();
        change(&mut config);
        for table in ["cache", "limits", "shutdown"] {
            config.origins.insert(table.to_owned(), Origin::Flag("--all".to_owned()));
        }
        let found = check(&config).err().map(|faults| faults.0);
        found.into_iter().flatten().map(|fault| format!("{}: {}", fault.key, fault.message)).collect()
    }

    #[test]
    fn bounds_themselves_are_within() {
        let none: [&str; 0] = [];
        assert_eq!(faults(|_| ()), none);
        assert_eq!(
            faults(|config| {
                config.cache.fresh_for = MILLISECOND;
                config.cache.usable_for = DAY;
                config.cache.absent_for = HOUR;
                config.cache.max_bytes = bytesize::MIB;
                config.cache.max_absent_bytes = 1;
                config.limits.request_timeout = Duration::from_millis(10);
                config.shutdown.delay = Duration::ZERO;
                config.shutdown.grace = *PAUSE.end();
            }),
            none
        );
    }

    #[test]
    fn beyond_its_bounds_each_is_at_fault() {
        const SLIGHTLY: Duration = Duration::from_nanos(1);
        let found = faults(|config| {
            config.cache.fresh_for = DAY + SLIGHTLY;
            config.cache.absent_for = Duration::ZERO;
            config.cache.max_bytes = bytesize::MIB - 1;
            config.cache.max_absent_bytes = 0;
            config.limits.request_timeout = Duration::from_secs(61);
            config.shutdown.delay = *PAUSE.end() + SLIGHTLY;
            config.shutdown.grace = HOUR;
        });
        let expected = [
            "cache.fresh_for: 1day 1ns is out of bounds: from 1ms to 1day",
            "cache.usable_for: 15m is out of bounds: from 1day to 1day",
            "cache.absent_for: 0s is out of bounds: from 1ms to 1h",
            "limits.request_timeout: 1m 1s is out of bounds: from 10ms to 1m",
            "shutdown.delay: 10m 1ns is out of bounds: from 0s to 10m",
            "shutdown.grace: 1h is out of bounds: from 0s to 10m",
            "cache.max_bytes: 1048575 is out of bounds: at least 1MiB",
            "cache.max_absent_bytes: 0 is out of bounds: at least 1",
        ];
        assert_eq!(found, expected);
    }
}
