//! h2load, the load generator of nghttp2.

use std::{fs, net::SocketAddr, path::Path, process::Command, time::Duration};

use tempfile::TempDir;

use crate::{
    call::Call,
    outcome::{CONNECTIONS, Outcome, STREAMS},
};

/// The command line that sends one call to one server, again and again.
pub(crate) struct H2load {
    arguments: Vec<String>,
    /// Removed on drop.
    folder: TempDir,
}

impl H2load {
    pub(crate) fn new(call: &Call, address: SocketAddr) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let body = folder.path().join("body");
        fs::write(&body, call.body()).unwrap();
        let mut arguments = vec![format!("http://{address}{}", call.path())];
        arguments.extend([format!("-c{CONNECTIONS}"), format!("-m{STREAMS}"), "-t1".to_owned()]);
        // A call that gets no reply ends the run.
        arguments
            .extend(["--connection-inactivity-timeout=10".to_owned(), format!("--data={}", body.display())]);
        arguments.extend(call.headers().map(|(name, value)| format!("--header={name}: {value}")));
        Self { arguments, folder }
    }

    /// Makes `calls` calls: as fast as replies come, or at `rate` calls per second. Panics unless
    /// every response has a 2xx status.
    pub(crate) fn run(&self, calls: usize, rate: Option<f64>) -> Outcome {
        let log = self.folder.path().join("log");
        let mut command = Command::new("h2load");
        command.args(&self.arguments).arg(format!("-n{calls}"));
        if let Some(rate) = rate {
            limit_rate(&mut command, rate, &log);
        }
        let output = command.output().expect("h2load runs");
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(number(&text, "requests: ", " succeeded") as usize, calls, "{text}");
        assert_eq!(number(&text, "status codes: ", " 2xx") as usize, calls, "{text}");
        let times = rate.map_or_else(Vec::new, |_| times(&log));
        assert!(rate.is_none() || times.len() == calls, "h2load logged {} of {calls} calls", times.len());
        let bytes = number(&text, "traffic: ", ") data") as usize;
        Outcome::new(number(&text, "finished in ", " req/s"), bytes, times)
    }
}

/// Sets the rate. Each connection of h2load sends a burst every 10 ms, so the connections start 11
/// ms apart.
fn limit_rate(command: &mut Command, rate: f64, log: &Path) {
    command.arg(format!("--rps={}", rate / CONNECTIONS as f64)).arg(format!("--log-file={}", log.display()));
    command.args(["--rate=1", "--rate-period=11ms"]);
}

/// Reads and removes the log of the latencies.
fn times(log: &Path) -> Vec<Duration> {
    let text = fs::read_to_string(log).unwrap();
    fs::remove_file(log).unwrap();
    let time = |line: &str| line.rsplit('\t').next().unwrap().parse().unwrap();
    text.lines().map(|line| Duration::from_micros(time(line))).collect()
}

/// Returns the number before the first `unit` in the line that starts with `line`.
fn number(text: &str, line: &str, unit: &str) -> f64 {
    let found = text.lines().find_map(|text| text.strip_prefix(line)?.split_once(unit));
    let (before, _) = found.unwrap_or_else(|| panic!("h2load printed no {unit:?}: {text}"));
    before.rsplit(|c: char| !c.is_ascii_digit() && c != '.').next().unwrap().parse().unwrap()
}
