//! What was measured of one server, and of two beside each other.

/// The figures of one server, one of each kind for each round.
#[derive(Default)]
pub(crate) struct Figures {
    /// Answers per second.
    pub(crate) rates: Vec<f64>,
    /// Seconds for one answer.
    pub(crate) cpus: Vec<f64>,
    /// What it answered of what it was asked at a given rate.
    pub(crate) paced_rates: Vec<f64>,
    pub(crate) p99s: Vec<f64>,
}

impl Figures {
    pub(crate) fn rate(&self) -> f64 {
        median(&self.rates)
    }

    /// Returns the rate, the CPU and the p99, as they are shown.
    pub(crate) fn texts(&self) -> [String; 3] {
        let p99 =
            if self.p99s.is_empty() { "-".to_owned() } else { format!("{:.2} ms", median(&self.p99s) * 1e3) };
        [format!("{:.0}", self.rate()), format!("{:.2} us", median(&self.cpus) * 1e6), p99]
    }

    /// Says so if it did not keep rate: then the times are those of a queue that grows.
    pub(crate) fn shortfall(&self, rate: Option<f64>) -> String {
        let Some(rate) = rate else { return String::new() };
        let measured = median(&self.paced_rates);
        if measured > 0.9 * rate { String::new() } else { format!(", but only {measured:.0}/s") }
    }
}

/// One of each round: both servers have the same noise about them in a round.
#[derive(Clone)]
pub(crate) struct Ratios(Vec<f64>);

impl Ratios {
    /// Of each figure to the other in its place.
    pub(crate) fn of(figures: &[f64], others: &[f64]) -> Self {
        Self(figures.iter().zip(others).map(|(figure, other)| figure / other).collect())
    }

    pub(crate) fn middle(&self) -> f64 {
        median(&self.0)
    }

    pub(crate) fn shown(&self) -> String {
        if self.0.is_empty() { "-".to_owned() } else { format!("{:.2}x", self.middle()) }
    }

    /// Not from the least to the greatest: a neighbour's work can spoil any one.
    pub(crate) fn range(&self) -> String {
        if self.0.is_empty() {
            return "-".to_owned();
        }
        format!("{:.2}-{:.2}", quantile(&self.0, 0.25), quantile(&self.0, 0.75))
    }
}

pub(crate) fn median(figures: &[f64]) -> f64 {
    quantile(figures, 0.5)
}

/// Between two figures it is as near to each as the part is.
fn quantile(figures: &[f64], part: f64) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let place = (sorted.len() - 1) as f64 * part;
    let [below, above] = [place.floor(), place.ceil()].map(|place| sorted[place as usize]);
    below + (above - below) * place.fract()
}
