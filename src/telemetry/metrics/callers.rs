//! Calls by caller, under the name that the settings give the caller. Each serving thread has its
//! own counters.

use std::{
    collections::{BTreeMap, BTreeSet},
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
pub struct CallerCounters(BTreeMap<Arc<str>, OneCaller>);

#[derive(Debug, Default)]
struct OneCaller {
    calls: [AtomicU64; CallerOutcome::ALL.len()],
    /// The users that its answers had.
    users: AtomicU64,
}

impl CallerCounters {
    /// Counts a call of the caller with this name, and the users that it answered; of no name if no
    /// rule matches the caller.
    pub fn count(&self, caller: Option<&str>, outcome: CallerOutcome, users: u32) {
        let Some(counters) = self.0.get(caller.unwrap_or(UNKNOWN_CALLER)) else { return };
        if let Some(calls) = counters.calls.get(outcome.index()) {
            calls.fetch_add(1, Relaxed);
        }
        if users > 0 {
            counters.users.fetch_add(users.into(), Relaxed);
        }
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
        /// The caller exceeded its `answers_per_second`.
        Limited,
        /// The call was refused. Repeating it without a change would not help.
        Refused,
    }
}

impl Collector for CallerMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let threads = self.threads().counters.clone();
        // After a reload, threads may have counters of other names.
        let names: BTreeSet<_> = threads.iter().flat_map(|counters| counters.0.keys()).collect();
        let outcomes = |name| CallerOutcome::ALL.iter().map(move |(outcome, _)| (name, *outcome));
        let series = names.iter().copied().flat_map(outcomes).map(|(name, outcome)| {
            let calls = sum(&threads, |counters| counters.0.get(name)?.calls.get(outcome.index()));
            (([("caller", Arc::clone(name))], outcome), calls)
        });
        let help =
            "Calls about users by the configured name of the caller; empty if no rule matches the caller";
        encode_counters(&mut encoder, ("caller_requests", help), series)?;
        let users = names.iter().copied().map(|name| {
            let users = sum(&threads, |counters| Some(&counters.0.get(name)?.users));
            ([("caller", Arc::clone(name))], users)
        });
        let help = "Users in the answers to a caller, from the cache or not, by its configured name";
        encode_counters(&mut encoder, ("caller_users", help), users)
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
        for (counters, caller, outcome, users) in [
            (&one, Some("web"), CallerOutcome::Answered, 1),
            (&two, Some("web"), CallerOutcome::Answered, 99),
            (&two, Some("billing"), CallerOutcome::Failed, 0),
            (&two, None, CallerOutcome::Refused, 0),
            (&one, Some("made up"), CallerOutcome::Refused, 0),
        ] {
            counters.count(caller, outcome, users);
        }
        let mut text = String::new();
        text::encode(&mut text, &registry).unwrap();
        for (caller, outcome, calls) in
            [("web", "Answered", 2), ("billing", "Failed", 1), ("billing", "Answered", 0), ("", "Refused", 1)]
        {
            let line = format!("caller_requests_total{{caller=\"{caller}\",outcome=\"{outcome}\"}} {calls}");
            assert!(text.lines().any(|exported| exported == line), "{line} is not in\n{text}");
        }
        assert_eq!(text.matches("caller_requests_total{").count(), 3 * 5, "{text}");
        assert!(text.contains("caller_users_total{caller=\"web\"} 100\n"), "{text}");
        assert!(text.contains("caller_users_total{caller=\"billing\"} 0\n"), "{text}");
    }
}
