//! The calls of each caller, by the name that the settings give it. As in [`rpc`](super::rpc), each serving thread counts
//! in cells of its own.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeLabelValue, NoLabelSet},
    metrics::MetricType,
};

/// The callers of one server; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct CallerMetrics(Arc<Mutex<Registered>>);

#[derive(Debug, Default)]
struct Registered {
    names: Vec<Arc<str>>,
    threads: Vec<CallerCounters>,
}

impl CallerMetrics {
    /// Takes the names that are counted by; before the first counters, which has cells for these only.
    pub fn set_names<'n>(&self, names: impl Iterator<Item = &'n str>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).names = names.map(Arc::from).collect();
    }

    /// Returns cells for one serving thread.
    pub fn for_thread(&self) -> CallerCounters {
        let mut registered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let names = registered.names.iter().map(Arc::clone).chain([UNKNOWN_CALLER.into()]);
        let counters = CallerCounters(Arc::new(names.map(|name| (name, Cells::default())).collect()));
        registered.threads.push(counters.clone());
        counters
    }
}

/// The cells of one thread; cheap to clone.
#[derive(Clone, Debug)]
pub struct CallerCounters(Arc<BTreeMap<Arc<str>, Cells>>);

type Cells = [AtomicU64; CallerOutcome::ALL.len()];

impl CallerCounters {
    /// Counts a call of the caller with this name, or of one that is not known by any.
    pub fn count(&self, caller: Option<&str>, outcome: CallerOutcome) {
        let cells = self.0.get(caller.unwrap_or(UNKNOWN_CALLER));
        if let Some(cell) = cells.and_then(|cells| cells.get(outcome as usize)) {
            cell.fetch_add(1, Relaxed);
        }
    }
}

/// How a call ended for its caller.
#[derive(Clone, Copy, Debug, EncodeLabelValue, Eq, Hash, PartialEq)]
pub enum CallerOutcome {
    /// It was answered.
    Answered,
    /// The caller went away.
    Cancelled,
    /// It was not answered, for no fault of the caller.
    Failed,
    /// It was refused: another answer takes another call, or another caller.
    Refused,
}

impl CallerOutcome {
    const ALL: [Self; 4] = [Self::Answered, Self::Cancelled, Self::Failed, Self::Refused];
}

impl Collector for CallerMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let threads = self.0.lock().unwrap_or_else(PoisonError::into_inner).threads.clone();
        let help = "Calls about people by the name of their caller, empty where no rule is about it";
        let mut family = encoder.encode_descriptor("caller_requests", help, None, MetricType::Counter)?;
        for name in threads.iter().take(1).flat_map(|counters| counters.0.keys()) {
            for outcome in CallerOutcome::ALL {
                let cell = |counters: &CallerCounters| {
                    Some(counters.0.get(name)?.get(outcome as usize)?.load(Relaxed))
                };
                let calls: u64 = threads.iter().filter_map(cell).sum();
                let labels = CallerLabels { caller: Arc::clone(name), outcome };
                family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&calls, None)?;
            }
        }
        Ok(())
    }
}

#[derive(Debug, EncodeLabelSet)]
struct CallerLabels {
    caller: Arc<str>,
    outcome: CallerOutcome,
}

// No rule has this name.
const UNKNOWN_CALLER: &str = "";

#[cfg(test)]
mod tests {
    use prometheus_client::{encoding::text, registry::Registry};

    use super::*;

    #[test]
    fn only_the_names_of_the_settings_are_counted_by() {
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
            assert!(text.lines().any(|told| told == line), "{line} is not in\n{text}");
        }
        assert_eq!(text.matches("caller_requests_total{").count(), 3 * 4, "{text}");
    }
}
