//! The measurements of one server, and the ratios of two.

/// The measurements of one server, one per round.
#[derive(Default)]
pub(crate) struct Measurements {
    /// Replies per second.
    pub(crate) rates: Vec<f64>,
    /// CPU seconds per reply.
    pub(crate) cpus: Vec<f64>,
    /// Replies per second when calls came at a fixed rate.
    pub(crate) paced_rates: Vec<f64>,
    pub(crate) p99s: Vec<f64>,
}

impl Measurements {
    pub(crate) fn rate(&self) -> f64 {
        median(&self.rates)
    }

    /// Formats the rate, the CPU time and the p99.
    pub(crate) fn texts(&self) -> [String; 3] {
        let p99 =
            if self.p99s.is_empty() { "-".to_owned() } else { format!("{:.2} ms", median(&self.p99s) * 1e3) };
        [format!("{:.0}", self.rate()), format!("{:.2} us", median(&self.cpus) * 1e6), p99]
    }

    /// Returns a note if the server fell behind the fixed rate: the latencies then measure a
    /// growing queue.
    pub(crate) fn shortfall(&self, rate: Option<f64>) -> String {
        let Some(wanted) = rate else { return String::new() };
        let rate = median(&self.paced_rates);
        if rate > 0.9 * wanted { String::new() } else { format!(", but only {rate:.0}/s") }
    }
}

/// The ratio in each round. Within a round, both servers see the same noise of the machine.
#[derive(Clone)]
pub(crate) struct Ratios(Vec<f64>);

impl Ratios {
    /// Divides each value by the other server's value in the same round.
    pub(crate) fn of(measurements: &[f64], others: &[f64]) -> Self {
        Self(measurements.iter().zip(others).map(|(figure, other)| figure / other).collect())
    }

    pub(crate) fn middle(&self) -> f64 {
        median(&self.0)
    }

    pub(crate) fn shown(&self) -> String {
        if self.0.is_empty() { "-".to_owned() } else { format!("{:.2}x", self.middle()) }
    }

    /// Formats the middle half of the rounds: minimum and maximum would show other work of the
    /// machine.
    pub(crate) fn range(&self) -> String {
        if self.0.is_empty() {
            return "-".to_owned();
        }
        format!("{:.2}-{:.2}", quantile(&self.0, 0.25), quantile(&self.0, 0.75))
    }
}

pub(crate) fn median(measurements: &[f64]) -> f64 {
    quantile(measurements, 0.5)
}

/// Returns a quantile, with linear interpolation between two values.
fn quantile(measurements: &[f64], part: f64) -> f64 {
    let mut sorted = measurements.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let place = (sorted.len() - 1) as f64 * part;
    let [below, above] = [place.floor(), place.ceil()].map(|place| sorted[place as usize]);
    below + (above - below) * place.fract()
}
