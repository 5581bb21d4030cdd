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
pub struct Callers(Arc<Mutex<Book>>);

#[derive(Debug, Default)]
struct Book {
    names: Vec<Arc<str>>,
    tallies: Vec<CallerTally>,
}

impl Callers {
    /// Takes the names that are counted by; before the first tally, which has cells for these only.
    pub fn name<'n>(&self, names: impl Iterator<Item = &'n str>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).names = names.map(Arc::from).collect();
    }

    /// Returns cells for one serving thread.
    pub fn tally(&self) -> CallerTally {
        let mut book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let names = book.names.iter().map(Arc::clone).chain([NOBODY.into()]);
        let tally = CallerTally(Arc::new(names.map(|name| (name, Cells::default())).collect()));
        book.tallies.push(tally.clone());
        tally
    }
}

/// The cells of one thread; cheap to clone.
#[derive(Clone, Debug)]
pub struct CallerTally(Arc<BTreeMap<Arc<str>, Cells>>);

type Cells = [AtomicU64; Ending::ALL.len()];

impl CallerTally {
    /// Counts a call of the caller with this name, or of one that is not known by any.
    pub fn count(&self, caller: Option<&str>, ending: Ending) {
        let cells = self.0.get(caller.unwrap_or(NOBODY));
        if let Some(cell) = cells.and_then(|cells| cells.get(ending as usize)) {
            cell.fetch_add(1, Relaxed);
        }
    }
}

/// How a call ended for its caller.
#[derive(Clone, Copy, Debug, EncodeLabelValue, Eq, Hash, PartialEq)]
pub enum Ending {
    /// It was answered.
    Answered,
    /// The caller went away.
    Cancelled,
    /// It was not answered, for no fault of the caller.
    Failed,
    /// It was refused: another answer takes another call, or another caller.
    Refused,
}

impl Ending {
    const ALL: [Self; 4] = [Self::Answered, Self::Cancelled, Self::Failed, Self::Refused];
}

impl Collector for Callers {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let tallies = self.0.lock().unwrap_or_else(PoisonError::into_inner).tallies.clone();
        let help = "Calls about people by the name of their caller, empty where no rule is about it";
        let mut family = encoder.encode_descriptor("caller_requests", help, None, MetricType::Counter)?;
        for name in tallies.iter().take(1).flat_map(|tally| tally.0.keys()) {
            for outcome in Ending::ALL {
                let cell =
                    |tally: &CallerTally| Some(tally.0.get(name)?.get(outcome as usize)?.load(Relaxed));
                let calls: u64 = tallies.iter().filter_map(cell).sum();
                let labels = OfCaller { caller: Arc::clone(name), outcome };
                family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&calls, None)?;
            }
        }
        Ok(())
    }
}

#[derive(Debug, EncodeLabelSet)]
struct OfCaller {
    caller: Arc<str>,
    outcome: Ending,
}

// No rule has this name.
const NOBODY: &str = "";

#[cfg(test)]
mod tests {
    use prometheus_client::{encoding::text, registry::Registry};

    use super::*;

    #[test]
    fn only_the_names_of_the_settings_are_counted_by() {
        let (callers, mut registry) = (Callers::default(), Registry::default());
        registry.register_collector(Box::new(callers.clone()));
        callers.name(["web", "billing"].into_iter());
        let (one, two) = (callers.tally(), callers.tally());
        for (tally, caller, ending) in [
            (&one, Some("web"), Ending::Answered),
            (&two, Some("web"), Ending::Answered),
            (&two, Some("billing"), Ending::Failed),
            (&two, None, Ending::Refused),
            (&one, Some("made up"), Ending::Refused),
        ] {
            tally.count(caller, ending);
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
