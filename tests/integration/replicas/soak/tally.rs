use std::{collections::BTreeMap, fmt, sync::Mutex, time::Duration};

use tonic::Status;

use crate::support::failure;

/// How often each thing was done, and with which result.
#[derive(Default)]
pub(super) struct Tally {
    results: Mutex<BTreeMap<&'static str, BTreeMap<String, usize>>>,
    recoveries: Mutex<Vec<Duration>>,
}

impl Tally {
    pub(super) fn count<T>(&self, what: &'static str, result: &Result<T, Status>) {
        let name = match result {
            Ok(_) => "OK".to_owned(),
            Err(status) => {
                let (code, reason) = failure(status);
                if reason.is_empty() { format!("{code:?}") } else { reason }
            }
        };
        *self.results.lock().unwrap().entry(what).or_default().entry(name).or_default() += 1;
    }

    /// Returns how often a thing had this result.
    pub(super) fn get(&self, what: &'static str, result: &str) -> usize {
        let results = self.results.lock().unwrap();
        results.get(what).and_then(|results| results.get(result)).copied().unwrap_or(0)
    }

    /// Returns how many faults there were.
    pub(super) fn faults(&self) -> usize {
        self.recoveries.lock().unwrap().len()
    }

    pub(super) fn recovered(&self, after: Duration) {
        self.recoveries.lock().unwrap().push(after);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, results) in &*self.results.lock().unwrap() {
            writeln!(f, "{what}: {results:?}")?;
        }
        let recoveries = self.recoveries.lock().unwrap();
        let slowest = recoveries.iter().max().copied().unwrap_or_default();
        write!(f, "{} faults; the slowest recovery took {slowest:.1?}", recoveries.len())
    }
}
