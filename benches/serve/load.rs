//! The load: who asks, and how much.

use std::time::Duration;

use crate::{callers::Callers, h2load::H2load, question::Question};

/// How much is done.
pub(crate) struct Effort {
    pub(crate) rounds: usize,
    /// In a round.
    pub(crate) calls: usize,
    /// How long a round at a given rate lasts.
    pub(crate) paced: Duration,
    /// How many are new in a round.
    pub(crate) tokens: usize,
    /// How many are many.
    pub(crate) users: usize,
}

impl Effort {
    pub(crate) const FULL: Self =
        Self { rounds: 15, calls: 50_000, paced: Duration::from_secs(2), tokens: 2_000, users: 1_000_000 };
    pub(crate) const QUICK: Self =
        Self { rounds: 3, calls: 20_000, paced: Duration::from_secs(1), tokens: 500, users: 50_000 };

    pub(crate) fn described(&self) -> String {
        let Self { rounds, calls, paced, .. } = self;
        format!(
            "{CONNECTIONS} connections x {STREAMS} calls at once, from one thread on the same cores; medians of {rounds} \
             rounds by turns, of {calls} calls each, and then, where p99 is told, of {paced:?} at half the rate that the \
             first of the two reached"
        )
    }
}

/// One question, or many alike, asked of one server many times at once.
pub(crate) enum Load<'a> {
    /// By h2load, which is neither's own client.
    H2load(H2load),
    /// By our own callers, who ask what is returned for the number of a call.
    Own(Callers, Box<dyn Fn(usize) -> Question + 'a>),
}

impl Load<'_> {
    /// Asks as fast as the answers come, or at a rate of so many calls per second. Fails unless every call is answered.
    pub(crate) fn run(&self, calls: usize, rate: Option<f64>) -> Outcome {
        match self {
            Self::H2load(h2load) => h2load.run(calls, rate),
            Self::Own(callers, question) => callers.run(calls, rate, question),
        }
    }
}

/// What came of it.
pub(crate) struct Outcome {
    /// Answers per second.
    pub(crate) rate: f64,
    /// The bytes of all messages of all answers, with their frames.
    pub(crate) bytes: usize,
    /// The time in which 99 of 100 were answered, where it was taken.
    pub(crate) p99: Option<Duration>,
}

impl Outcome {
    /// `times` are those of all answers, or none.
    pub(crate) fn of(rate: f64, bytes: usize, mut times: Vec<Duration>) -> Self {
        let place = times.len() * 99 / 100;
        let p99 = (!times.is_empty()).then(|| *times.select_nth_unstable(place).1);
        Self { rate, bytes, p99 }
    }
}

pub(crate) const CONNECTIONS: usize = 8;
/// The calls under way on each of them.
pub(crate) const STREAMS: usize = 32;
