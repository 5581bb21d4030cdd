//! How many calls a scenario makes, and what sends them.

use std::time::Duration;

use crate::{
    call::Call,
    client::LoadClient,
    h2load::H2load,
    outcome::{CONNECTIONS, Outcome, STREAMS},
};

/// The size of the measurements.
pub(crate) struct Effort {
    pub(crate) rounds: usize,
    /// The calls of one round.
    pub(crate) calls: usize,
    /// The length of a round at a fixed rate.
    pub(crate) paced: Duration,
    /// The new tokens of one round.
    pub(crate) tokens: usize,
    /// The users of the scenario `million`.
    pub(crate) users: usize,
}

impl Effort {
    pub(crate) const FULL: Self =
        Self { rounds: 15, calls: 50_000, paced: Duration::from_secs(2), tokens: 2_000, users: 1_000_000 };
    pub(crate) const QUICK: Self =
        Self { rounds: 3, calls: 20_000, paced: Duration::from_secs(1), tokens: 500, users: 50_000 };

    pub(crate) fn describe(&self) -> String {
        let Self { rounds, calls, paced, .. } = self;
        format!(
            "{CONNECTIONS} connections x {STREAMS} concurrent calls, from one thread on the same cores; medians of \
             {rounds} alternating rounds of {calls} calls each; p99 in rounds of {paced:?} at half the rate that the \
             first server reached"
        )
    }
}

/// What sends the calls of a scenario to one server.
pub(crate) enum Load<'a> {
    /// h2load, which sends the same call every time.
    H2load(H2load),
    /// The bench's own client. The function returns the call with that number.
    Own(LoadClient, Box<dyn Fn(usize) -> Call + 'a>),
}

impl Load<'_> {
    /// Makes `calls` calls: as fast as replies come, or at `rate` calls per second. Panics unless
    /// every call gets a reply.
    pub(crate) fn run(&self, calls: usize, rate: Option<f64>) -> Outcome {
        match self {
            Self::H2load(h2load) => h2load.run(calls, rate),
            Self::Own(client, call) => client.run(calls, rate, call),
        }
    }
}
