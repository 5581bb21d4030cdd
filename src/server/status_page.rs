//! `/statusz`: one HTML page for people, without scripts. It shows what the metrics have, and what is
//! missing for readiness: nothing about a user.

mod html;

use std::time::{Duration, SystemTime};

use humantime::{format_duration, format_rfc3339_seconds};

use self::html::{Page, Table};
use super::readiness::ReadyState;
use crate::telemetry::metrics::Samples;

/// Renders the page.
pub(super) fn render(samples: &Samples, state: &ReadyState, now: SystemTime) -> String {
    let view = View { samples, now };
    let mut page = Page::new("cognito-lookup");
    page.heading(if state.is_ready() { "ready" } else { "not ready" }, state.is_ready());
    for table in [
        view.process(),
        readiness(state),
        view.signing_keys(),
        view.callers(),
        view.cache(),
        view.rate_limit(),
        view.cognito(),
        view.shared_cache(),
        view.events(),
        view.revocations(),
        view.certificates(),
    ] {
        page.table(&table);
    }
    page.end(&format!("{} UTC", format_rfc3339_seconds(now)))
}

fn readiness(state: &ReadyState) -> Table {
    let mut table = Table::new("Readiness", &["condition", "state"]);
    for check in state.checks() {
        let state = if check.missing.is_empty() { "ok" } else { check.missing.as_str() };
        table.row([check.name.as_str(), state]);
    }
    table
}

/// What the tables are made from.
struct View<'a> {
    samples: &'a Samples,
    now: SystemTime,
}

impl View<'_> {
    fn process(&self) -> Table {
        let mut table = Table::new("Process", &["", ""]);
        table.row(["version", env!("CARGO_PKG_VERSION")]);
        table.row(["uptime", &self.age(self.sum("process_start_time_seconds", &[]))]);
        table.row(["resident memory", &self.mebibytes("process_resident_memory_bytes", &[])]);
        table.row(["memory of connections", &self.mebibytes("cognito_lookup_connection_memory_bytes", &[])]);
        for (name, metric) in [
            ("connections", "cognito_lookup_connections"),
            ("connections refused", "cognito_lookup_connections_refused_total"),
            ("refusals for lack of memory", "cognito_lookup_memory_refusals_total"),
            ("audit records lost", "cognito_lookup_audit_records_dropped_total"),
        ] {
            table.row([name, &self.count(metric, &[])]);
        }
        table
    }

    fn signing_keys(&self) -> Table {
        let mut table = Table::new("Signing keys", &["pool", "keys", "fetched", "failed fetches"]);
        for sample in self.samples.of("cognito_lookup_jwks_keys") {
            let pool = &[("pool", sample.label("pool"))];
            let fetches = "cognito_lookup_jwks_fetches_total";
            let good = self.sum(fetches, &[pool[0], ("outcome", "Ok")]);
            let failed = self.sum(fetches, pool).zip(good).map(|(all, good)| all - good);
            table.row([
                sample.label("pool"),
                &number(Some(sample.value)),
                &self.ago(self.sum("cognito_lookup_jwks_fetched_timestamp_seconds", pool)),
                &number(failed),
            ]);
        }
        table
    }

    fn callers(&self) -> Table {
        let header = ["caller", "answered", "users read", "refused", "over its limit", "failed", "cancelled"];
        let mut table = Table::new("Callers", &header);
        let calls = "cognito_lookup_caller_requests_total";
        for sample in self.samples.of(calls).filter(|sample| sample.label("outcome") == "Answered") {
            let caller = ("caller", sample.label("caller"));
            let ended = |outcome| self.count(calls, &[caller, ("outcome", outcome)]);
            let name = if caller.1.is_empty() { "(no rule matches)" } else { caller.1 };
            table.row([
                name,
                &ended("Answered"),
                &self.count("cognito_lookup_caller_users_total", &[caller]),
                &ended("Refused"),
                &ended("Limited"),
                &ended("Failed"),
                &ended("Cancelled"),
            ]);
        }
        table
    }

    fn cache(&self) -> Table {
        let mut table = Table::new("Cache", &["", ""]);
        for sample in self.samples.of("cognito_lookup_cache_entries") {
            let store = ("store", sample.label("store"));
            let kind = store.1.to_lowercase();
            let size = self.mebibytes("cognito_lookup_cache_bytes", &[store]);
            table.row([&*kind, &format!("{}, {size}", number(Some(sample.value)))]);
            let evicted = self.count("cognito_lookup_cache_evictions_total", &[store]);
            table.row([&*format!("{kind} evicted"), &evicted]);
        }
        self.outcomes(&mut table, "lookups", "cognito_lookup_cache_lookups_total", "outcome");
        table.row(["verified tokens", &self.count("cognito_lookup_verdict_cache_entries", &[])]);
        table
    }

    fn rate_limit(&self) -> Table {
        let header = ["account", "Region", "category", "calls per second", "left now", "refused"];
        let mut table = Table::new("Rate limit of calls to Cognito", &header);
        for sample in self.samples.of("cognito_lookup_upstream_budget_per_second") {
            let [account, region, category] =
                ["account", "region", "category"].map(|label| (label, sample.label(label)));
            let left = self.count("cognito_lookup_upstream_budget_left", &[account, region, category]);
            let refused = self.count("cognito_lookup_upstream_refusals_total", &[category]);
            let allowed = number(Some(sample.value));
            table.row([account.1, region.1, category.1, &allowed, &left, &refused]);
        }
        let scopes = self.samples.of("cognito_lookup_upstream_budget_scope");
        for sample in scopes.filter(|sample| sample.value == 1.0) {
            let by = format!("counted by: {}", sample.label("scope"));
            table.row([sample.label("account"), sample.label("region"), &by, "", "", ""]);
        }
        table
    }

    fn cognito(&self) -> Table {
        let mut table = Table::new("Cognito", &["", ""]);
        self.outcomes(&mut table, "calls", "cognito_lookup_upstream_calls_total", "outcome");
        let circuits = self.samples.of("cognito_lookup_upstream_circuit_open");
        for sample in circuits.filter(|sample| sample.value == 1.0) {
            let circuit = format!("{} of {}", sample.label("operation"), sample.label("pool"));
            table.row([&*circuit, "not called: the circuit breaker is open"]);
        }
        table
    }

    fn shared_cache(&self) -> Table {
        let mut table = Table::new("Shared cache", &["", ""]);
        if self.samples.of("cognito_lookup_shared_cache_calls_total").next().is_none() {
            table.row(["shared_cache", "not configured"]);
            return table;
        }
        let words = ["used", "not used: it fails or is too slow"];
        table.row(["store", self.yes("cognito_lookup_shared_cache_open", words)]);
        self.outcomes(&mut table, "calls", "cognito_lookup_shared_cache_calls_total", "outcome");
        self.outcomes(&mut table, "lookups", "cognito_lookup_shared_cache_lookups_total", "outcome");
        table.row(["gaps in its events", &self.count("cognito_lookup_shared_cache_gaps_total", &[])]);
        table
    }

    fn events(&self) -> Table {
        let mut table = Table::new("Change events", &["", ""]);
        if self.samples.of("cognito_lookup_events_total").next().is_none() {
            table.row(["events.queue_url", "not configured"]);
            return table;
        }
        let words = ["received from", "not received from for events.stale_after"];
        table.row(["queue", self.yes("cognito_lookup_events_stale", words)]);
        for (name, metric) in [
            ("last receive", "cognito_lookup_events_polled_timestamp_seconds"),
            ("newest change", "cognito_lookup_events_last_timestamp_seconds"),
        ] {
            table.row([name, &self.ago(self.sum(metric, &[]))]);
        }
        table.row([
            "changes before the start",
            self.yes("cognito_lookup_events_caught_up", ["not read", "read"]),
        ]);
        self.outcomes(&mut table, "messages", "cognito_lookup_events_total", "outcome");
        table
    }

    fn revocations(&self) -> Table {
        let mut table = Table::new("Revocations", &["", ""]);
        for (name, metric) in [
            ("revocations in memory", "cognito_lookup_revocation_marks"),
            ("not yet published to other replicas", "cognito_lookup_revocations_unpublished"),
            ("dropped for lack of room", "cognito_lookup_revocation_marks_dropped_total"),
            ("tokens refused because they were revoked", "cognito_lookup_tokens_revoked_total"),
        ] {
            table.row([name, &self.count(metric, &[])]);
        }
        let read = self.yes("cognito_lookup_revocations_caught_up", ["not read", "read"]);
        table.row(["those of other replicas before the start", read]);
        table
    }

    fn certificates(&self) -> Table {
        let mut table = Table::new("Certificates", &["certificate", "ends"]);
        for (name, metric) in [
            ("tls.certificate", "cognito_lookup_tls_certificate_expiry_timestamp_seconds"),
            ("tls.client_ca", "cognito_lookup_tls_client_ca_expiry_timestamp_seconds"),
        ] {
            let end = self.sum(metric, &[]).filter(|seconds| *seconds > 0.0).map(at);
            let end = end.map_or_else(|| "not configured".to_owned(), |end| self.until(end));
            table.row([name, &end]);
        }
        let failures = self.count("cognito_lookup_tls_reload_failures_total", &[]);
        table.row(["failed reloads of the files", &failures]);
        table
    }

    /// Adds a row for each value of a label, with the sum over all other labels; none for sums of 0.
    fn outcomes(&self, table: &mut Table, name: &str, metric: &str, label: &str) {
        let mut values: Vec<_> = self.samples.of(metric).map(|sample| sample.label(label)).collect();
        values.sort_unstable();
        values.dedup();
        for value in values {
            let sum = self.sum(metric, &[(label, value)]);
            if sum != Some(0.0) {
                table.row([&*format!("{name}: {value}"), &number(sum)]);
            }
        }
    }

    fn sum(&self, metric: &str, labels: &[(&str, &str)]) -> Option<f64> {
        self.samples.sum(metric, labels)
    }

    fn count(&self, metric: &str, labels: &[(&str, &str)]) -> String {
        number(self.sum(metric, labels))
    }

    fn mebibytes(&self, metric: &str, labels: &[(&str, &str)]) -> String {
        let bytes = self.sum(metric, labels);
        bytes.map_or_else(|| NONE.to_owned(), |bytes| format!("{:.1} MiB", bytes / 1_048_576.0))
    }

    /// Returns the second word if a gauge is 1.
    fn yes(&self, metric: &str, words: [&'static str; 2]) -> &'static str {
        let [no, yes] = words;
        if self.sum(metric, &[]) == Some(1.0) { yes } else { no }
    }

    /// Returns the time since a Unix time in seconds.
    fn age(&self, seconds: Option<f64>) -> String {
        let Some(time) = seconds.filter(|seconds| *seconds > 0.0).map(at) else { return "never".to_owned() };
        rounded(self.now.duration_since(time).unwrap_or_default())
    }

    fn ago(&self, seconds: Option<f64>) -> String {
        match self.age(seconds) {
            never if never == "never" => never,
            age => format!("{age} ago"),
        }
    }

    fn until(&self, end: SystemTime) -> String {
        let date = format_rfc3339_seconds(end);
        match end.duration_since(self.now) {
            Ok(left) => format!("{date}, in {} days", left.as_secs() / SECONDS_A_DAY),
            Err(_) => format!("{date}, EXPIRED"),
        }
    }
}

fn at(seconds: f64) -> SystemTime {
    // Later than any certificate (RFC 5280, section 4.1.2.5).
    const YEAR_9999: f64 = 253_402_300_799.0;
    SystemTime::UNIX_EPOCH + Duration::from_secs_f64(seconds.clamp(0.0, YEAR_9999))
}

/// Returns a duration without what is less than a second.
fn rounded(duration: Duration) -> String {
    format_duration(Duration::from_secs(duration.as_secs())).to_string()
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(|| NONE.to_owned(), |value| format!("{value}"))
}

const NONE: &str = "–";
const SECONDS_A_DAY: u64 = 24 * 60 * 60;

#[cfg(test)]
mod tests;
