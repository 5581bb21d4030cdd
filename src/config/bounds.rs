//! The bounds of the settings, beyond their types.

use std::{ops::RangeInclusive, time::Duration};

use bytesize::{GIB, KIB, MIB};
use humantime::format_duration;

use super::{
    Config, ValueSource,
    error::{ConfigErrors, ErrorCollector},
    text,
};

/// Checks that every number is within its bounds; fails with every key that is not.
pub(super) fn check(config: &Config) -> Result<(), ConfigErrors> {
    let mut check = Check { config, errors: ErrorCollector::new(config) };
    check.durations();
    check.sizes();
    check.numbers();
    check.rates();
    check.errors.finish(Some(()))
}

struct Check<'a> {
    config: &'a Config,
    errors: ErrorCollector<'a>,
}

impl Check<'_> {
    fn durations(&mut self) {
        let Config { cache, limits, shutdown, tls, .. } = self.config;
        for (key, value, bounds) in [
            ("cache.fresh_for", cache.fresh_for, MILLISECOND..=DAY),
            ("cache.usable_for", cache.usable_for, cache.fresh_for.min(DAY)..=DAY),
            ("cache.absent_for", cache.absent_for, MILLISECOND..=HOUR),
            ("tls.check_every", tls.check_every, Duration::from_millis(100)..=HOUR),
            ("limits.request_timeout", limits.request_timeout, SHORT..=MINUTE),
            ("limits.handshake_timeout", limits.handshake_timeout, SHORT..=MINUTE),
            ("limits.stall_timeout", limits.stall_timeout, SHORT..=TEN_MINUTES),
            ("limits.connection_age", limits.connection_age, SHORT..=DAY),
            ("limits.keepalive_interval", limits.keepalive_interval, SHORT..=HOUR),
            ("limits.keepalive_timeout", limits.keepalive_timeout, SHORT..=TEN_MINUTES),
            ("shutdown.delay", shutdown.delay, Duration::ZERO..=TEN_MINUTES),
            ("shutdown.grace", shutdown.grace, Duration::ZERO..=TEN_MINUTES),
        ] {
            self.within(key, value, bounds, |value| format_duration(value).to_string());
        }
    }

    fn sizes(&mut self) {
        let Config { audit, cache, limits, .. } = self.config;
        for (key, value, bounds) in [
            // A batch of 100 users, whose records stay together, is at most 300 KiB.
            ("audit.max_bytes", audit.max_bytes, 512 * KIB..=GIB),
            ("limits.header_list", limits.header_list, 4 * KIB..=MIB),
            ("limits.message", limits.message, KIB..=4 * MIB),
            ("cache.max_bytes", cache.max_bytes, MIB..=MOST_BYTES),
            ("cache.max_absent_bytes", cache.max_absent_bytes, 1..=MOST_BYTES),
            ("cache.max_verdict_bytes", cache.max_verdict_bytes, 1..=MOST_BYTES),
        ] {
            self.within(key, value, bounds, text::SizeText::format);
        }
    }

    fn numbers(&mut self) {
        let Config { limits, workers, .. } = self.config;
        for (key, value, bounds) in [
            ("workers", *workers, 0..=1_024),
            ("limits.connections", limits.connections, 1..=1_000_000),
            ("limits.connections_per_peer", limits.connections_per_peer, 1..=1_000_000),
            ("limits.streams", limits.streams, 1..=10_000),
            ("limits.local_error_resets", limits.local_error_resets, 1..=1_000_000),
            ("limits.pending_accept_resets", limits.pending_accept_resets, 1..=10_000),
        ] {
            self.within(key, value, bounds, |value| value.to_string());
        }
    }

    fn rates(&mut self) {
        let Config { budget, callers, .. } = self.config;
        let shares = callers.iter().enumerate();
        let shares =
            shares.map(|(n, caller)| (format!("callers[{n}].misses_per_second"), caller.misses_per_second));
        let rates = [
            ("budget.user_reads_per_second", budget.user_reads_per_second),
            ("budget.lists_per_second", budget.lists_per_second),
            ("budget.group_reads_per_second", budget.group_reads_per_second),
        ];
        for (key, rate) in rates.map(|(key, rate)| (key.to_owned(), rate)).into_iter().chain(shares) {
            if let Some(rate) = rate {
                self.within(&key, rate, 1..=MOST_PER_SECOND, |rate| rate.to_string());
            }
        }
    }

    fn within<N: Copy + PartialOrd>(
        &mut self,
        key: &str,
        value: N,
        bounds: RangeInclusive<N>,
        show: impl Fn(N) -> String,
    ) {
        if bounds.contains(&value) {
            return;
        }
        let [value, low, high] = [value, *bounds.start(), *bounds.end()].map(show);
        // The fault will say that nothing set it, so the reader must learn here whose value it is.
        let is_default = self.config.value_source(key) == ValueSource::Default;
        let whose = if is_default { "the default " } else { "" };
        self.errors.add(key, format!("{whose}{value} is out of bounds: from {low} to {high}"));
    }
}

// More than any machine has.
const MOST_BYTES: u64 = 1024 * bytesize::TIB;
// Beyond any quota, and few enough to keep a second's calls in memory.
const MOST_PER_SECOND: usize = 100_000;
const MILLISECOND: Duration = Duration::from_millis(1);
// A test may want it short; less would end every call.
const SHORT: Duration = Duration::from_millis(10);
const MINUTE: Duration = Duration::from_secs(60);
const TEN_MINUTES: Duration = Duration::from_secs(600);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::CallerSettings;

    fn errors(change: impl FnOnce(&mut Config)) -> Vec<String> {
        let mut config = Config::default();
        change(&mut config);
        for table in ["audit", "budget", "cache", "limits", "shutdown", "workers", "callers"] {
            config.value_sources.insert(table.to_owned(), ValueSource::Flag("--all".to_owned()));
        }
        let found = check(&config).err().map(|errors| errors.0);
        found.into_iter().flatten().map(|fault| format!("{}: {}", fault.key, fault.message)).collect()
    }

    #[test]
    fn bounds_themselves_are_within() {
        let none: [&str; 0] = [];
        assert_eq!(errors(|_| ()), none);
        assert_eq!(
            errors(|config| {
                config.cache.fresh_for = MILLISECOND;
                config.cache.usable_for = DAY;
                config.cache.absent_for = HOUR;
                config.cache.max_bytes = MIB;
                config.cache.max_absent_bytes = 1;
                config.cache.max_verdict_bytes = 1;
                config.limits.request_timeout = Duration::from_millis(10);
                config.shutdown.delay = Duration::ZERO;
                config.shutdown.grace = TEN_MINUTES;
                config.budget.user_reads_per_second = Some(1);
                config.budget.lists_per_second = Some(MOST_PER_SECOND);
            }),
            none
        );
    }

    #[test]
    fn beyond_its_bounds_each_is_at_fault() {
        const SLIGHTLY: Duration = Duration::from_nanos(1);
        let found = errors(|config| {
            config.cache.fresh_for = DAY + SLIGHTLY;
            config.cache.absent_for = Duration::ZERO;
            config.cache.max_bytes = MIB - 1;
            config.cache.max_absent_bytes = 0;
            config.cache.max_verdict_bytes = 0;
            config.limits.request_timeout = Duration::from_secs(61);
            config.shutdown.delay = TEN_MINUTES + SLIGHTLY;
            config.shutdown.grace = HOUR;
            config.audit.max_bytes = GIB + 1;
            config.limits.header_list = 4 * KIB - 1;
            config.limits.streams = 0;
            config.workers = 1_025;
            config.budget.user_reads_per_second = Some(0);
            config.budget.lists_per_second = Some(0);
            config.budget.group_reads_per_second = Some(MOST_PER_SECOND + 1);
            config.callers = vec![CallerSettings { misses_per_second: Some(0), ..CallerSettings::default() }];
        });
        let expected = [
            "cache.fresh_for: 1day 1ns is out of bounds: from 1ms to 1day",
            "cache.usable_for: 15m is out of bounds: from 1day to 1day",
            "cache.absent_for: 0s is out of bounds: from 1ms to 1h",
            "limits.request_timeout: 1m 1s is out of bounds: from 10ms to 1m",
            "shutdown.delay: 10m 1ns is out of bounds: from 0s to 10m",
            "shutdown.grace: 1h is out of bounds: from 0s to 10m",
            "audit.max_bytes: 1073741825 is out of bounds: from 512KiB to 1024MiB",
            "limits.header_list: 4095 is out of bounds: from 4KiB to 1MiB",
            "cache.max_bytes: 1048575 is out of bounds: from 1MiB to 1073741824MiB",
            "cache.max_absent_bytes: 0 is out of bounds: from 1 to 1073741824MiB",
            "cache.max_verdict_bytes: 0 is out of bounds: from 1 to 1073741824MiB",
            "workers: 1025 is out of bounds: from 0 to 1024",
            "limits.streams: 0 is out of bounds: from 1 to 10000",
            "budget.user_reads_per_second: 0 is out of bounds: from 1 to 100000",
            "budget.lists_per_second: 0 is out of bounds: from 1 to 100000",
            "budget.group_reads_per_second: 100001 is out of bounds: from 1 to 100000",
            "callers[0].misses_per_second: 0 is out of bounds: from 1 to 100000",
        ];
        assert_eq!(found, expected);
    }
}
