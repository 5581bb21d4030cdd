//! One question put to both servers, by turns.

use std::{fs, thread, time::Duration};

use cognito_lookup::{
    proto::{GetUserResponse, Source},
    sandbox::standin::StandIn,
};
use prost::Message as _;
use tempfile::TempDir;
use tokio::time::Instant;

use crate::{
    figures::{Figures, Table},
    load::{Effort, Load, Outcome},
    machine,
    question::Question,
    server::{self, Server},
};

/// Both servers, ready.
pub(crate) struct Contest<'a> {
    cognito: &'a StandIn,
    /// What Cognito was asked until then.
    lookups: usize,
    load: Load,
    ours: Server,
    question: Question,
    reply: GetUserResponse,
    stock: Server,
    /// Removed in the end.
    _folder: TempDir,
}

impl<'a> Contest<'a> {
    /// Starts ours, asks it until it answers from the cache, and starts the stock server with that answer.
    pub(crate) fn begin(cognito: &'a StandIn, question: Question) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (settings, file) = (folder.path().join("settings.toml"), folder.path().join("reply"));
        fs::write(&settings, server::settings(cognito)).unwrap();
        let ours = Server::ours(&settings);
        question.ask(ours.address);
        let reply = question.ask(ours.address);
        assert_eq!(reply.freshness.as_ref().unwrap().source(), Source::Cache);
        fs::write(&file, reply.encode_to_vec()).unwrap();
        let stock = Server::stock(&file);
        let load = Load::of(&question, folder.path());
        Self { cognito, lookups: lookups(cognito), load, ours, question, reply, stock, _folder: folder }
    }

    /// Holds it. Fails if the answers of the two are not the same, but for their age, or if Cognito was asked.
    pub(crate) fn held(self, effort: &Effort) -> Table {
        self.compare();
        let (begun, before) = (Instant::now(), self.work_of_others());
        let (mut stock, mut ours) = (Figures::default(), Figures::default());
        for server in [&self.stock, &self.ours] {
            self.load.saturate(server.address, effort.requests);
        }
        for _ in 0..effort.rounds {
            self.saturate(&self.stock, effort.requests, &mut stock);
            self.saturate(&self.ours, effort.requests, &mut ours);
        }
        let pace = stock.rate() / 2.0;
        for _ in 0..effort.rounds {
            self.pace(&self.stock, pace, effort.paced, &mut stock);
            self.pace(&self.ours, pace, effort.paced, &mut ours);
        }
        let others = self.work_of_others().saturating_sub(before).div_duration_f64(begun.elapsed());
        self.compare();
        Table { title: self.title(), pace, stock, ours, others: others / machine::cores() as f64 }
    }

    fn title(&self) -> String {
        let Question { name, authorization, .. } = &self.question;
        let (message, reply) = (self.question.body().len() - FRAME, self.reply.encoded_len());
        let token = authorization.as_ref().map_or(0, String::len);
        format!("{name}: authorization of {token} bytes, message of {message}, reply of {reply}")
    }

    fn saturate(&self, server: &Server, requests: usize, figures: &mut Figures) {
        thread::sleep(REST);
        let before = server.cpu();
        let outcome = self.load.saturate(server.address, requests);
        let cpu = server.cpu() - before;
        self.check(server, requests, &outcome);
        figures.saturated(outcome.rate, cpu.as_secs_f64() / requests as f64);
    }

    fn pace(&self, server: &Server, rate: f64, lasting: Duration, figures: &mut Figures) {
        thread::sleep(REST);
        let requests = (rate * lasting.as_secs_f64()) as usize;
        let (outcome, p99) = self.load.pace(server.address, requests, rate);
        self.check(server, requests, &outcome);
        figures.paced(outcome.rate, p99.as_secs_f64());
    }

    /// A failure has no message, whatever its code in HTTP. Ours also has an age, which takes a few bytes more or less.
    fn check(&self, server: &Server, requests: usize, outcome: &Outcome) {
        let expected = requests * (FRAME + self.reply.encoded_len());
        assert!(outcome.bytes.abs_diff(expected) <= requests * AGE, "{} for {expected}", outcome.bytes);
        server.assert_content();
        assert_eq!(lookups(self.cognito), self.lookups, "not all were hits");
    }

    /// How long the machine has worked until now for neither the servers nor the load.
    fn work_of_others(&self) -> Duration {
        let known = machine::work_of_bench() + self.ours.cpu() + self.stock.cpu();
        machine::work().saturating_sub(known)
    }

    fn compare(&self) {
        let [ours, stock] =
            [&self.ours, &self.stock].map(|server| ageless(self.question.ask(server.address)));
        assert_eq!(ours, stock);
        assert_eq!(stock, ageless(self.reply.clone()));
        self.ours.assert_content();
    }
}

/// The bytes of a reply but for its age.
fn ageless(mut reply: GetUserResponse) -> Vec<u8> {
    reply.freshness.as_mut().unwrap().age = None;
    reply.encode_to_vec()
}

fn lookups(cognito: &StandIn) -> usize {
    cognito.calls("AdminGetUser") + cognito.calls("ListUsers")
}

// Until the connections of the last round are closed.
const REST: Duration = Duration::from_millis(200);
const FRAME: usize = 5;
const AGE: usize = 6;
