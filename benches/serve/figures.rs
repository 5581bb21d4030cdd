//! What was measured, and how it is shown.

use std::fmt;

/// The figures of one server, one of each kind for each round.
#[derive(Default)]
pub(crate) struct Figures {
    rates: Vec<f64>,
    /// Seconds for one call.
    cpus: Vec<f64>,
    /// What it answered of what it was asked at a given pace.
    paced_rates: Vec<f64>,
    p99s: Vec<f64>,
}

impl Figures {
    pub(crate) fn saturated(&mut self, rate: f64, cpu: f64) {
        self.rates.push(rate);
        self.cpus.push(cpu);
    }

    pub(crate) fn paced(&mut self, rate: f64, p99: f64) {
        self.paced_rates.push(rate);
        self.p99s.push(p99);
    }

    pub(crate) fn rate(&self) -> f64 {
        median(&self.rates)
    }

    fn texts(&self) -> [String; 3] {
        let [cpu, p99] = [median(&self.cpus) * 1e6, median(&self.p99s) * 1e3];
        [format!("{:.0}", self.rate()), format!("{cpu:.2} us"), format!("{p99:.2} ms")]
    }

    /// Says so if it did not keep pace: then the times are those of a queue that grows.
    fn shortfall(&self, pace: f64) -> String {
        let rate = median(&self.paced_rates);
        if rate > 0.9 * pace { String::new() } else { format!(", but only {rate:.0}/s") }
    }
}

/// The two beside each other.
pub(crate) struct Table {
    pub(crate) title: String,
    pub(crate) pace: f64,
    pub(crate) stock: Figures,
    pub(crate) ours: Figures,
    /// The part of the machine that other work took meanwhile.
    pub(crate) others: f64,
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { title, pace, stock, ours, others } = self;
        let row =
            |name: &str, [rate, cpu, p99]: [String; 3]| format!("{name:24}{rate:>12}{cpu:>14}{p99:>11}");
        writeln!(f, "\n{title}")?;
        writeln!(f, "{} at {pace:.0}/s", row("", ["requests/s", "CPU/request", "p99"].map(Into::into)))?;
        writeln!(f, "{}{}", row("stock tonic", stock.texts()), stock.shortfall(*pace))?;
        writeln!(f, "{}{}", row("cognito-lookup", ours.texts()), ours.shortfall(*pace))?;
        let ratios = [(&ours.rates, &stock.rates), (&ours.cpus, &stock.cpus), (&ours.p99s, &stock.p99s)]
            .map(|(ours, stock)| Ratios::of(ours, stock));
        writeln!(f, "{}", row("ratio, ours to stock", ratios.each_ref().map(Ratios::middle)))?;
        writeln!(f, "{}", row("  middle half of rounds", ratios.each_ref().map(Ratios::range)))?;
        write!(f, "other work took {:.0} % of the machine meanwhile", others * 100.0)
    }
}

/// One of each round: both servers have the same noise about them in a round.
struct Ratios(Vec<f64>);

impl Ratios {
    fn of(ours: &[f64], stock: &[f64]) -> Self {
        Self(ours.iter().zip(stock).map(|(ours, stock)| ours / stock).collect())
    }

    fn middle(&self) -> String {
        format!("{:.2}x", median(&self.0))
    }

    /// Not from the least to the greatest: a neighbour's work can spoil any one.
    fn range(&self) -> String {
        format!("{:.2}-{:.2}", quantile(&self.0, 0.25), quantile(&self.0, 0.75))
    }
}

fn median(figures: &[f64]) -> f64 {
    quantile(figures, 0.5)
}

fn quantile(figures: &[f64], part: f64) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    *sorted.get(((sorted.len() - 1) as f64 * part).round() as usize).unwrap()
}
