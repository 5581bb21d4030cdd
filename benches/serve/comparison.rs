//! Two servers, measured in alternating rounds.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    load::Effort,
    machine,
    measurements::{Measurements, Ratios},
    table::Table,
    target::Target,
};

/// Both servers and the checks of what they return.
pub(crate) struct Comparison<'a> {
    pub(crate) title: String,
    /// The ratios are those of the second to the first.
    pub(crate) targets: [Target<'a>; 2],
    /// Whether p99 is measured, at half the rate that the first server reached.
    pub(crate) is_paced: bool,
    /// Returns how many calls Cognito has received.
    pub(crate) lookups: &'a dyn Fn() -> usize,
    /// Panics unless both servers reply as expected.
    pub(crate) compare: &'a dyn Fn(),
}

impl<'a> Comparison<'a> {
    /// Measures both. Panics if a call fails, a reply is unexpected, or Cognito gets a call.
    pub(crate) fn run(&self, effort: &Effort) -> Table {
        let lookups = (self.lookups)();
        (self.compare)();
        // A warm-up that does not count.
        self.turn(&mut [Measurements::default(), Measurements::default()], Target::saturate);
        let (begun, before) = (Instant::now(), self.work_of_others());
        let mut measurements = [Measurements::default(), Measurements::default()];
        for _ in 0..effort.rounds {
            self.turn(&mut measurements, Target::saturate);
        }
        let rate = self.is_paced.then(|| measurements[0].rate() / 2.0);
        if let Some(rate) = rate {
            for _ in 0..effort.rounds {
                self.turn(&mut measurements, |target, measurements| target.pace(rate, effort, measurements));
            }
        }
        let others = self.work_of_others().saturating_sub(before).div_duration_f64(begun.elapsed());
        (self.compare)();
        assert_eq!((self.lookups)(), lookups, "not all were hits");
        self.table(rate, &measurements, others / machine::cores() as f64)
    }

    /// Measures one round: one server after the other.
    fn turn(&self, measurements: &mut [Measurements; 2], measure: impl Fn(&Target<'a>, &mut Measurements)) {
        for (target, measurements) in self.targets.iter().zip(measurements) {
            measure(target, measurements);
        }
    }

    fn table(&self, rate: Option<f64>, measurements: &[Measurements; 2], others: f64) -> Table {
        let [first, second] = measurements;
        let ratios = [
            Ratios::of(&second.rates, &first.rates),
            Ratios::of(&second.cpus, &first.cpus),
            Ratios::of(&second.p99s, &first.p99s),
        ];
        let rows = [0, 1].map(|target| {
            let (name, measurements) = (self.targets[target].name.to_owned(), &measurements[target]);
            (name, measurements.texts(), measurements.shortfall(rate))
        });
        Table { title: self.title.clone(), rate, rows, ratios, others }
    }

    /// Returns the CPU time that other processes have used until now.
    fn work_of_others(&self) -> Duration {
        let known = self.targets.iter().map(|target| target.server.cpu()).sum::<Duration>();
        machine::work().saturating_sub(machine::work_of_bench() + known)
    }
}
