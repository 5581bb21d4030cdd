//! One of the two servers of a contest, with the load that is for it.

use std::{thread, time::Duration};

use crate::{
    figures::Figures,
    load::{Effort, Load, Outcome},
    server::Server,
};

/// A server and who asks it what.
pub(crate) struct Side<'a> {
    pub(crate) name: &'a str,
    pub(crate) server: &'a Server,
    pub(crate) load: Load<'a>,
    /// In a round.
    pub(crate) calls: usize,
    /// In a reply; each is an answer.
    pub(crate) users: usize,
    /// The bytes of a reply in its frame.
    pub(crate) reply: usize,
}

impl Side<'_> {
    /// Asks as fast as the answers come.
    pub(crate) fn saturate(&self, figures: &mut Figures) {
        thread::sleep(REST);
        let before = self.server.cpu();
        let outcome = self.load.run(self.calls, None);
        let cpu = self.server.cpu() - before;
        self.check(self.calls, &outcome);
        figures.rates.push(outcome.rate * self.users as f64);
        figures.cpus.push(cpu.as_secs_f64() / (self.calls * self.users) as f64);
    }

    /// Asks at a rate of so many calls per second.
    pub(crate) fn rate(&self, rate: f64, effort: &Effort, figures: &mut Figures) {
        thread::sleep(REST);
        let calls = (rate * effort.paced.as_secs_f64()) as usize;
        let outcome = self.load.run(calls, Some(rate));
        self.check(calls, &outcome);
        figures.paced_rates.push(outcome.rate);
        figures.p99s.push(outcome.p99.unwrap().as_secs_f64());
    }

    /// A failure has no message, whatever its code in HTTP. Ours also has an age, which takes a few bytes more or less.
    fn check(&self, calls: usize, outcome: &Outcome) {
        let expected = calls * self.reply;
        let spared = calls * self.users * AGE;
        assert!(outcome.bytes.abs_diff(expected) <= spared, "{} for {expected}", outcome.bytes);
        self.server.assert_content();
    }
}

// Until the connections of the last round are closed.
const REST: Duration = Duration::from_millis(200);
const AGE: usize = 6;
