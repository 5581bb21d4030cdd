//! The load: h2load, which is neither's own client.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::question::Question;

/// How much is done.
pub(crate) struct Effort {
    pub(crate) rounds: usize,
    /// In a round.
    pub(crate) requests: usize,
    /// How long a round at a given rate lasts.
    pub(crate) paced: Duration,
}

impl Effort {
    pub(crate) const FULL: Self = Self { rounds: 15, requests: 50_000, paced: Duration::from_secs(2) };
    pub(crate) const QUICK: Self = Self { rounds: 3, requests: 20_000, paced: Duration::from_secs(1) };

    pub(crate) fn described(&self) -> String {
        let Self { rounds, requests, paced } = self;
        format!(
            "{CONNECTIONS} connections x {STREAMS} calls at once, from one thread on the same cores; medians of {rounds} \
             rounds by turns, of {requests} calls each, then of {paced:?} at half the rate that the stock server reached"
        )
    }
}

/// One question, asked many times at once.
pub(crate) struct Load {
    body: PathBuf,
    headers: Vec<String>,
    log: PathBuf,
}

/// What came of it.
pub(crate) struct Outcome {
    /// Answers per second.
    pub(crate) rate: f64,
    /// The bytes of all messages of all answers, with their frames.
    pub(crate) bytes: usize,
}

impl Load {
    /// Prepares to ask; `folder` is for the files of it.
    pub(crate) fn of(question: &Question, folder: &Path) -> Self {
        let body = folder.join("body");
        fs::write(&body, question.body()).unwrap();
        let mut headers = vec!["content-type: application/grpc".to_owned(), "te: trailers".to_owned()];
        headers.extend(question.authorization.as_ref().map(|value| format!("authorization: {value}")));
        Self { body, headers, log: folder.join("log") }
    }

    /// Asks as fast as the answers come.
    pub(crate) fn saturate(&self, address: SocketAddr, requests: usize) -> Outcome {
        self.run(address, requests, &[])
    }

    /// Asks at a rate of so many calls per second, and returns with what came of it the time in which 99 of 100 were
    /// answered.
    pub(crate) fn pace(&self, address: SocketAddr, requests: usize, rate: f64) -> (Outcome, Duration) {
        let of_each = format!("--rps={}", rate / CONNECTIONS as f64);
        let log = format!("--log-file={}", self.log.display());
        // h2load asks in handfuls, every 10 ms of a connection. Begun 11 ms apart, they do not ask all at once.
        let outcome = self.run(address, requests, &[&of_each, &log, "--rate=1", "--rate-period=11ms"]);
        let lines = fs::read_to_string(&self.log).unwrap();
        fs::remove_file(&self.log).unwrap();
        let mut times: Vec<u64> =
            lines.lines().map(|line| line.rsplit('\t').next().unwrap().parse().unwrap()).collect();
        assert_eq!(times.len(), requests);
        let (_, p99, _) = times.select_nth_unstable(requests * 99 / 100);
        (outcome, Duration::from_micros(*p99))
    }

    /// Runs h2load, and fails unless every call is answered with a code that HTTP calls a success.
    fn run(&self, address: SocketAddr, requests: usize, more: &[&str]) -> Outcome {
        let output = Command::new("h2load")
            .args([format!("-n{requests}"), format!("-c{CONNECTIONS}"), format!("-m{STREAMS}"), "-t1".into()])
            // A call that is never answered ends the run.
            .args(["--connection-inactivity-timeout=10", "--data", self.body.to_str().unwrap()])
            .args(self.headers.iter().flat_map(|header| ["-H", header]))
            .args(more)
            .arg(format!("http://{address}/userlookup.v1.UserService/GetUser"))
            .output()
            .expect("h2load runs");
        let text = String::from_utf8(output.stdout).unwrap();
        let succeeded = number(&text, "requests: ", " succeeded");
        assert_eq!(succeeded as usize, requests, "{text}");
        assert_eq!(number(&text, "status codes: ", " 2xx") as usize, requests, "{text}");
        Outcome {
            rate: number(&text, "finished in ", " req/s"),
            bytes: number(&text, "traffic: ", ") data") as usize,
        }
    }
}

/// Returns the number before the first `unit` in the line that begins with `line`.
fn number(text: &str, line: &str, unit: &str) -> f64 {
    let found = text.lines().find_map(|text| text.strip_prefix(line)?.split_once(unit));
    let (before, _) = found.unwrap_or_else(|| panic!("h2load told no {unit:?}: {text}"));
    before.rsplit(|c: char| !c.is_ascii_digit() && c != '.').next().unwrap().parse().unwrap()
}

const CONNECTIONS: usize = 8;
const STREAMS: usize = 32;
