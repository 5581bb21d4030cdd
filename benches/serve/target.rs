//! One of the two servers of a comparison, with its load.

use std::{thread, time::Duration};

use crate::{
    load::{Effort, Load},
    measurements::Measurements,
    outcome::Outcome,
    server::Server,
};

/// A server and the load that it gets.
pub(crate) struct Target<'a> {
    pub(crate) name: &'a str,
    pub(crate) server: &'a Server,
    pub(crate) load: Load<'a>,
    /// The calls of one round.
    pub(crate) calls: usize,
    /// The users in one reply.
    pub(crate) users: usize,
    /// The bytes of a reply, with the head of its frame.
    pub(crate) reply: usize,
}

impl Target<'_> {
    /// Measures one round as fast as replies come.
    pub(crate) fn saturate(&self, measurements: &mut Measurements) {
        thread::sleep(REST);
        let before = self.server.cpu();
        let outcome = self.load.run(self.calls, None);
        let cpu = self.server.cpu() - before;
        self.check(self.calls, &outcome);
        measurements.rates.push(outcome.rate * self.users as f64);
        measurements.cpus.push(cpu.as_secs_f64() / (self.calls * self.users) as f64);
    }

    /// Measures one round at a rate of so many calls per second.
    pub(crate) fn pace(&self, rate: f64, effort: &Effort, measurements: &mut Measurements) {
        thread::sleep(REST);
        let calls = (rate * effort.paced.as_secs_f64()) as usize;
        let outcome = self.load.run(calls, Some(rate));
        self.check(calls, &outcome);
        measurements.paced_rates.push(outcome.rate);
        measurements.p99s.push(outcome.p99.unwrap().as_secs_f64());
    }

    /// Panics unless the replies have the expected length: a failed call has no message. The age
    /// may take a few bytes more or less.
    fn check(&self, calls: usize, outcome: &Outcome) {
        let expected = calls * self.reply;
        let spared = calls * self.users * AGE;
        assert!(outcome.bytes.abs_diff(expected) <= spared, "{} for {expected}", outcome.bytes);
        self.server.assert_no_failed_call();
    }
}

// Lets the connections of the last round close.
const REST: Duration = Duration::from_millis(200);
const AGE: usize = 6;
