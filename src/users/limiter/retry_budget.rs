//! The retry budget: at most a tenth of all calls are retries, so an outage does not double the
//! calls; pure.

/// The retries available, in tenths of one.
#[derive(Clone, Copy, Debug)]
pub(super) struct RetryBudget(u32);

impl Default for RetryBudget {
    fn default() -> Self {
        Self(MOST)
    }
}

impl RetryBudget {
    /// Counts a first call, which earns a tenth of a retry; at most 10 retries accumulate.
    pub(super) fn earn(&mut self) {
        self.0 = (self.0 + 1).min(MOST);
    }

    /// Spends a retry. Returns whether there was one.
    pub(super) fn spend(&mut self) -> bool {
        let left = self.0.checked_sub(TENTHS);
        self.0 = left.unwrap_or(self.0);
        left.is_some()
    }
}

const TENTHS: u32 = 10;
const MOST: u32 = 10 * TENTHS;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retries_are_a_tenth_of_the_calls_and_ten_at_once() {
        let mut retries = RetryBudget::default();
        let at_once = (0..100).filter(|_| retries.spend()).count();
        assert_eq!(at_once, 10);
        let later = (0..1000).filter(|_| {
            retries.earn();
            retries.spend()
        });
        assert_eq!(later.count(), 100);
        (0..1000).for_each(|_| retries.earn());
        assert_eq!((0..100).filter(|_| retries.spend()).count(), 10, "no more are saved");
    }
}
