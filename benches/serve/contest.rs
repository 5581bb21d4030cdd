//! Two servers, asked by turns.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    figures::{Figures, Ratios},
    load::Effort,
    machine,
    side::Side,
    table::Table,
};

/// Both servers, ready, and what must hold.
pub(crate) struct Contest<'a> {
    pub(crate) title: String,
    /// The second is measured by the first.
    pub(crate) sides: [Side<'a>; 2],
    /// Whether p99 is taken, at half the rate that the first reached.
    pub(crate) is_paced: bool,
    /// What Cognito was asked until then.
    pub(crate) lookups: &'a dyn Fn() -> usize,
    /// Fails unless the replies are as they should be.
    pub(crate) compare: &'a dyn Fn(),
}

impl<'a> Contest<'a> {
    /// Holds it. Fails if a call fails, if a reply is not as it should be, or if Cognito was asked.
    pub(crate) fn held(&self, effort: &Effort) -> Table {
        let lookups = (self.lookups)();
        (self.compare)();
        // Not counted: a first time is slower.
        self.turn(&mut [Figures::default(), Figures::default()], Side::saturate);
        let (begun, before) = (Instant::now(), self.work_of_others());
        let mut figures = [Figures::default(), Figures::default()];
        for _ in 0..effort.rounds {
            self.turn(&mut figures, Side::saturate);
        }
        let rate = self.is_paced.then(|| figures[0].rate() / 2.0);
        if let Some(rate) = rate {
            for _ in 0..effort.rounds {
                self.turn(&mut figures, |side, figures| side.rate(rate, effort, figures));
            }
        }
        let others = self.work_of_others().saturating_sub(before).div_duration_f64(begun.elapsed());
        (self.compare)();
        assert_eq!((self.lookups)(), lookups, "not all were hits");
        self.table(rate, &figures, others / machine::cores() as f64)
    }

    /// A round: one after the other.
    fn turn(&self, figures: &mut [Figures; 2], measure: impl Fn(&Side<'a>, &mut Figures)) {
        for (side, figures) in self.sides.iter().zip(figures) {
            measure(side, figures);
        }
    }

    fn table(&self, rate: Option<f64>, figures: &[Figures; 2], others: f64) -> Table {
        let [first, second] = figures;
        let ratios = [
            Ratios::of(&second.rates, &first.rates),
            Ratios::of(&second.cpus, &first.cpus),
            Ratios::of(&second.p99s, &first.p99s),
        ];
        let rows = [0, 1].map(|side| {
            let (name, figures) = (self.sides[side].name.to_owned(), &figures[side]);
            (name, figures.texts(), figures.shortfall(rate))
        });
        Table { title: self.title.clone(), rate, rows, ratios, others }
    }

    /// How long the machine has worked until now for neither the servers nor the load.
    fn work_of_others(&self) -> Duration {
        let known = self.sides.iter().map(|side| side.server.cpu()).sum::<Duration>();
        machine::work().saturating_sub(machine::work_of_bench() + known)
    }
}
