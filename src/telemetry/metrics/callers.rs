//! Calls by caller, under the name that the settings give the caller. Each serving thread has its
//! own counters.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use prometheus_client::{collector::Collector, encoding::DescriptorEncoder};

use super::{
    Label,
    collect::{encode_counters, sum},
};

/// Calls by caller; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct CallerMetrics(Arc<Mutex<Threads>>);

#[derive(Debug, Default)]
struct Threads {
    names: Vec<Arc<str>>,
    counters: Vec<Arc<CallerCounters>>,
}

impl CallerMetrics {
    /// Sets the names of all callers. Threads added before do not count them.
    pub fn set_names<'n>(&self, names: impl Iterator<Item = &'n str>) {
        self.threads().names = names.map(Arc::from).collect();
    }

    /// Returns the counters of one more serving thread.
    pub fn for_thread(&self) -> Arc<CallerCounters> {
        let mut threads = self.threads();
        let names = threads.names.iter().map(Arc::clone).chain([UNKNOWN_CALLER.into()]);
        let counters = Arc::new(CallerCounters(names.map(|name| (name, Default::default())).collect()));
        threads.counters.push(Arc::clone(&counters));
        counters
    }

    fn threads(&self) -> MutexGuard<'_, Threads> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The counters of one serving thread.
#[derive(Debug)]
pub struct CallerCounters(BTreeMap<Arc<str>, [AtomicU64; CallerOutcome::ALL.len()]>);

impl CallerCounters {
    /// Counts a call of the caller with this name; of no name if no rule matches the caller.
    pub fn count(&self, caller: Option<&str>, outcome: CallerOutcome) {
        if let Some(counter) = self.get(caller.unwrap_or(UNKNOWN_CALLER), outcome) {
            counter.fetch_add(1, Relaxed);
        }
    }

    fn get(&self, caller: &str, outcome: CallerOutcome) -> Option<&AtomicU64> {
        self.0.get(caller)?.get(outcome.index())
    }
}

label! {
    /// How a call ended for its caller.
    pub enum CallerOutcome = "outcome" {
        /// The caller got an answer.
        Answered,
        /// The caller cancelled the call.
        Cancelled,
        /// The service failed; the caller is not to blame.
        Failed,
        /// The call was refused. Repeating it without a change would not help.
        Refused,
    }
}

impl Collector for CallerMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let threads = self.threads().counters.clone();
        let names = threads.iter().take(1).flat_map(|counters| counters.0.keys());
        let series =
            names.flat_map(|name| CallerOutcome::ALL.iter().map(move |(outcome, _)| (name, *outcome)));
        let series = series.map(|(name, outcome)| {
            let calls = sum(&threads, |counters| counters.get(name, outcome));
            (([("caller", Arc::clone(name))], outcome), calls)
        });
        let help =
            "Calls about users by the configured name of the caller; empty if no rule matches the caller";
        encode_counters(&mut encoder, ("caller_requests", help), series)
    }
}

// No rule has this name.
const UNKNOWN_CALLER: &str = "";

#[cfg(test)]
mod tests {
    use prometheus_client::{encoding::text, registry::Registry};

    use super::*;

    #[test]
    fn calls_are_counted_by_the_names_of_the_settings_only() {
        let (callers, mut registry) = (CallerMetrics::default(), Registry::default());
        registry.register_collector(Box::new(callers.clone()));
        callers.set_names(["web", "billing"].into_iter());
        let (one, two) = (callers.for_thread(), callers.for_thread());
        for (counters, caller, outcome) in [
            (&one, Some("web"), CallerOutcome::Answered),
            (&two, Some("web"), CallerOutcome::Answered),
            (&two, Some("billing"), CallerOutcome::Failed),
            (&two, None, CallerOutcome::Refused),
            (&one, Some("made up"), CallerOutcome::Refused),
        ] {
            counters.count(caller, outcome);
        }
        let mut text = String::new();
        text::encode(&mut text, &registry).unwrap();
        for (caller, outcome, calls) in
            [("web", "Answered", 2), ("billing", "Failed", 1), ("billing", "Answered", 0), ("", "Refused", 1)]
        {
            let line = format!("caller_requests_total{{caller=\"{caller}\",outcome=\"{outcome}\"}} {calls}");
            assert!(text.lines().any(|exported| exported == line), "{line} is not in\n{text}");
        }
        assert_eq!(text.matches("caller_requests_total{").count(), 3 * 4, "{text}");
    }
}
