//! What a simulation has shown.

use super::{Setup, measured::Measured};

#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    /// Of each caller: requests, those served from a replica's memory or the shared cache, those refused,
    /// and those served stale instead.
    pub(super) requests: [u64; 2],
    pub(super) local: [u64; 2],
    pub(super) shared: [u64; 2],
    pub(super) refused: [u64; 2],
    pub(super) stale: [u64; 2],
    pub(super) refreshes_refused: u64,
    pub(super) refreshes: u64,
    pub(super) calls: u64,
    pub(super) looks: u64,
    pub(super) takes: u64,
    /// Puts, ends and releases.
    pub(super) ends: u64,
}

pub(super) struct Report {
    pub(super) setup: Setup,
    pub(super) tally: Tally,
    /// The calls of each replica.
    pub(super) of_replicas: Vec<u64>,
    pub(super) seconds: f64,
}

impl Report {
    pub(super) fn calls_per_second(&self) -> f64 {
        self.tally.calls as f64 / self.seconds
    }

    pub(super) fn line(&self, measured: &Measured) -> String {
        let (tally, replicas) = (&self.tally, self.setup.replicas);
        let part = |of: u64, all: u64| 100.0 * of as f64 / all.max(1) as f64;
        let [singles, batches] = tally.requests;
        let syncs = replicas as f64;
        let scripts = (tally.looks + tally.takes + tally.ends) as f64 / self.seconds + syncs;
        format!(
            "| {replicas} | {:.1} | {:.1} % | {:.1} % | {:.2} % ({:.2} %) | {:.2} % ({:.2} %) | {:.1} % | {:.2} | {:.0} | {:.1} % |",
            self.calls_per_second(),
            part(tally.local[0], singles),
            part(tally.shared[0], singles),
            part(tally.refused[0], singles),
            part(tally.stale[0], singles),
            part(tally.refused[1], batches),
            part(tally.stale[1], batches),
            part(tally.refreshes_refused, tally.refreshes),
            self.fairness(),
            scripts,
            scripts * measured.script.as_secs_f64() * 100.0,
        )
    }

    /// Jain's index of the calls of all replicas: 1 if all have the same.
    fn fairness(&self) -> f64 {
        let calls = || self.of_replicas.iter().map(|calls| *calls as f64);
        let (sum, squares) = (calls().sum::<f64>(), calls().map(|calls| calls * calls).sum::<f64>());
        sum * sum / (self.of_replicas.len() as f64 * squares).max(1.0)
    }
}

pub(super) const HEAD: &str = "| replicas | calls/s | from memory | from the shared cache | singles refused (stale) | \
                               batches refused (stale) | refreshes refused | fairness | scripts/s | the store's thread |\n\
                               | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |";
