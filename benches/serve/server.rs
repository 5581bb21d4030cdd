//! A server in a process of its own, so that its work can be told from the bench's.

use std::{
    env, fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

use cognito_lookup::sandbox::standin::StandIn;
use serde_json::Value;

/// A server that serves. Dropped, it is killed.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    log: Receiver<String>,
    process: Process,
}

impl Server {
    /// Starts the binary with the settings in the file.
    pub(crate) fn ours(settings: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cognito-lookup"));
        command.env_clear().envs([("AWS_ACCESS_KEY_ID", "x"), ("AWS_SECRET_ACCESS_KEY", "x")]);
        Self::start(command.arg("serve").arg("--config").arg(settings))
    }

    /// Starts the peer with the reply in the file.
    pub(crate) fn stock(reply: &Path) -> Self {
        Self::start(Command::new(env::current_exe().unwrap()).arg("--stock").arg(reply))
    }

    fn start(command: &mut Command) -> Self {
        // Audit records are made and written all the same.
        let command = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = Process(command.spawn().unwrap());
        let lines = BufReader::new(process.0.stderr.take().unwrap()).lines().map_while(Result::ok);
        let (sender, log) = channel();
        thread::spawn(move || lines.for_each(|line| drop(sender.send(line))));
        let mut address = None;
        loop {
            let line = log.recv_timeout(PATIENCE).expect("the server serves");
            let line: Value = serde_json::from_str(&line).unwrap();
            match line["message"].as_str() {
                Some("listening") => address = Some(line["address"].as_str().unwrap().parse().unwrap()),
                Some("serving") => return Self { address: address.unwrap(), log, process },
                _ => {}
            }
        }
    }

    /// Returns the time that its threads ran until now, which is exact where a clock tick is 10 ms. The threads that
    /// have ended are left out: none does while it serves.
    pub(crate) fn cpu(&self) -> Duration {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.process.0.id())).unwrap();
        let ran = tasks.map(|task| -> u64 {
            let text = fs::read_to_string(task.unwrap().path().join("schedstat")).unwrap();
            text.split(' ').next().unwrap().parse().unwrap()
        });
        Duration::from_nanos(ran.sum())
    }

    /// Fails if it has logged that a call did not succeed.
    pub(crate) fn assert_content(&self) {
        let failed =
            self.log.try_iter().find(|line| line.contains("call failed") || line.contains("cancelled"));
        assert_eq!(failed, None);
    }
}

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Returns settings under which everything is a hit once it was asked for: nothing grows old in the time of a bench.
pub(crate) fn settings(cognito: &StandIn) -> String {
    format!(
        r#"listen = "127.0.0.1:0"
admin_listen = "127.0.0.1:0"
[cache]
fresh_for = "24h"
usable_for = "24h"
[limits]
connection_age = "24h"
[[pools]]
id = "{}"
issuer = "{}"
endpoint_url = "{}"
app_clients = ["sandboxwebclient0000000001"]
[[callers]]
name = "web"
app_client = "sandboxwebclient0000000001"
attributes = {ATTRIBUTES}
[[callers]]
name = "sidecar"
network = ["127.0.0.1/32"]
reads = "any"
attributes = {ATTRIBUTES}
"#,
        cognito.pool_id(),
        cognito.issuer(),
        cognito.endpoint_url(),
    )
}

const ATTRIBUTES: &str = r#"["name", "given_name", "family_name", "email", "locale", "custom:plan"]"#;
const PATIENCE: Duration = Duration::from_secs(10);
