//! Which users are requested, and how many calls that causes.

/// Users whose popularity follows Zipf's law.
pub(super) struct Zipf {
    /// The sum of the probabilities up to each rank.
    sums: Vec<f64>,
}

impl Zipf {
    pub(super) fn new(people: usize, exponent: f64) -> Self {
        let mut sum = 0.0;
        let weights = (1..=people).map(|rank| {
            sum += (rank as f64).powf(-exponent);
            sum
        });
        let mut sums: Vec<_> = weights.collect();
        sums.iter_mut().for_each(|part| *part /= sum);
        Self { sums }
    }

    pub(super) fn draw(&self, random: &mut fastrand::Rng) -> u32 {
        let part = random.f64();
        u32::try_from(self.sums.partition_point(|sum| *sum < part).min(self.sums.len() - 1)).unwrap()
    }

    /// Returns how many calls a second so many requests a second cause without a limit. A user is
    /// fetched by the first request after half of its TTL, whether that refreshes it ahead or misses.
    pub(super) fn calls(&self, per_second: f64, fresh_for: f64) -> f64 {
        let mut before = 0.0;
        let calls = self.sums.iter().map(|sum| {
            let rate = per_second * (sum - before);
            before = *sum;
            rate / (1.0 + rate * fresh_for / 2.0)
        });
        calls.sum()
    }
}

/// Returns how many requests a second cause so many calls a second, by the formula for exponent 1.
pub(super) fn carried(people: usize, calls: f64, fresh_for: f64) -> f64 {
    let (mut low, mut high) = (calls, 1e9);
    for _ in 0..100 {
        let middle = (low + high) / 2.0;
        *(if approximate_calls(people as f64, middle, fresh_for) < calls { &mut low } else { &mut high }) =
            middle;
    }
    low
}

/// Returns how many calls a second so many requests a second cause, for exponent 1.
fn approximate_calls(people: f64, per_second: f64, fresh_for: f64) -> f64 {
    let most_popular = per_second / (people.ln() + EULER);
    most_popular * (1.0 + 2.0 * people / (most_popular * fresh_for)).ln()
}

const EULER: f64 = 0.577;
