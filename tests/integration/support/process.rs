use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

use cognito_standin::StandIn;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::Instant;

use super::{WEB, canary};

/// A process of the built binary with a stand-in as its Cognito, killed on drop.
pub(crate) struct Process {
    child: Child,
    log: Receiver<Value>,
    /// The log lines up to `listening`.
    pub(crate) start: Vec<Value>,
    /// The address of the gRPC server, as logged.
    pub(crate) address: String,
    pub(crate) admin: SocketAddr,
    folder: TempDir,
}

impl Process {
    /// Starts `serve` with these settings and those of [`pool`], and waits until it is serving.
    pub(crate) fn serve(cognito: &StandIn, settings: &str) -> Self {
        Self::serve_with_shell("exec \"$0\" \"$@\"", cognito, settings, &[])
    }

    /// As [`serve`](Self::serve), with a shell command in which `exec "$0" "$@"` starts the binary.
    pub(crate) fn serve_with_shell(
        line: &str,
        cognito: &StandIn,
        settings: &str,
        environment: &[(&str, &str)],
    ) -> Self {
        let process = Self::listen_with_shell(line, cognito, settings, environment);
        process.wait_for_log("serving");
        process
    }

    /// As [`serve_with_shell`](Self::serve_with_shell), without waiting until it is serving.
    pub(crate) fn listen_with_shell(
        line: &str,
        cognito: &StandIn,
        settings: &str,
        environment: &[(&str, &str)],
    ) -> Self {
        Self::start_with_shell(line, cognito, settings, environment).listening()
    }

    /// Waits until it listens, and notes its addresses.
    pub(crate) fn listening(mut self) -> Self {
        self.start = self.log_until("listening");
        let listening = self.start.last().unwrap();
        self.address = listening["address"].as_str().unwrap().to_owned();
        self.admin = listening["admin.address"].as_str().unwrap().parse().unwrap();
        self
    }

    /// As [`listen_with_shell`](Self::listen_with_shell), without waiting until it listens.
    pub(crate) fn start_with_shell(
        line: &str,
        cognito: &StandIn,
        settings: &str,
        environment: &[(&str, &str)],
    ) -> Self {
        let settings = format!("{settings}\n{}", pool(cognito, "name"));
        Self::start_with_settings(line, &settings, environment)
    }

    /// As [`start_with_shell`](Self::start_with_shell), with these settings only.
    pub(crate) fn start_with_settings(line: &str, settings: &str, environment: &[(&str, &str)]) -> Self {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("settings.toml");
        fs::write(&file, settings).unwrap();
        let mut child = Command::new("sh")
            .args(["-c", line, env!("CARGO_BIN_EXE_cognito-lookup"), "serve", "--config"])
            .arg(&file)
            .env_clear()
            .envs([("AWS_ACCESS_KEY_ID", "x"), ("AWS_SECRET_ACCESS_KEY", "x")])
            .env("COGNITO_LOOKUP_ADMIN_LISTEN", "127.0.0.1:0")
            .env("COGNITO_LOOKUP_LOG__LEVEL", "trace")
            .envs(environment.iter().copied())
            .stdout(canary::stdout())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (lines, log) = channel();
        let errors = BufReader::new(child.stderr.take().unwrap());
        thread::spawn(move || {
            let lines_read = errors.lines().map_while(Result::ok).inspect(|line| canary::log(line));
            let values = lines_read.map(|line| serde_json::from_str(&line).unwrap_or(Value::String(line)));
            values.map_while(|value| lines.send(value).ok()).for_each(drop);
        });
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        Self { child, log, start: Vec::new(), address: String::new(), admin: nowhere, folder }
    }

    /// Waits until it has ended, and returns its exit code and what it logged. Panics if it does not
    /// end in time.
    pub(crate) fn failed(mut self) -> (Option<i32>, Vec<Value>) {
        let code = self.ended();
        (code, self.log.iter().collect())
    }

    /// Sets how many files it may open, and returns what it was before.
    pub(crate) fn limit_files(&self, limit: u64) -> u64 {
        let id = Pid::from_child(&self.child);
        let new = Rlimit { current: Some(limit), maximum: Some(1000) };
        prlimit(Some(id), Resource::Nofile, new).unwrap().current.unwrap()
    }

    /// Waits until the process logs this message.
    pub(crate) fn wait_for_log(&self, message: &str) {
        self.log_until(message);
    }

    /// As [`wait_for_log`](Self::wait_for_log), and returns the lines since the last wait, up to
    /// that message.
    pub(crate) fn log_until(&self, message: &str) -> Vec<Value> {
        let deadline = Instant::now() + PATIENCE;
        let mut lines = Vec::new();
        while let Ok(line) = self.log.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            let found = line["message"] == message;
            lines.push(line);
            if found {
                return lines;
            }
        }
        panic!("{message:?} is not logged: {lines:#?}");
    }

    /// Runs a client command against it, and returns its standard output, or its standard error if
    /// it failed.
    pub(crate) fn client(&self, arguments: &[&str]) -> Result<String, String> {
        self.run_client(arguments, &[])
    }

    fn run_client(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Result<String, String> {
        let output = Command::new(env!("CARGO_BIN_EXE_cognito-lookup"))
            .args(arguments)
            .args(["--address", &format!("http://{}", self.address)])
            .env_clear()
            .envs(environment.iter().copied())
            .output()
            .unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
    }

    /// As [`client`](Self::client), with an access token.
    pub(crate) fn client_with_token(&self, arguments: &[&str], token: &str) -> Result<String, String> {
        canary::token(token);
        self.run_client(arguments, &[("COGNITO_LOOKUP_TOKEN", token)])
    }

    /// Replaces the settings file.
    pub(crate) fn rewrite(&self, settings: &str) {
        fs::write(self.folder.path().join("settings.toml"), settings).unwrap();
    }

    /// Returns its resident memory, in bytes.
    pub(crate) fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// Returns how many files it has open.
    pub(crate) fn files(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }

    /// Waits until it has ended, and returns the exit code. Panics if it does not end in time.
    pub(crate) fn wait(mut self) -> Option<i32> {
        self.ended()
    }

    fn ended(&mut self) -> Option<i32> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            thread::sleep(Duration::from_millis(5));
        }
        panic!("the process does not end");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Settings with the stand-in as the pool, for callers by token and from this machine, which may
/// read `released`.
pub(crate) fn pool(cognito: &StandIn, released: &str) -> String {
    format!(
        r#"[[pools]]
id = "{id}"
issuer = "{issuer}"
jwks_url = "{jwks}"
endpoint_url = "{endpoint}"
app_clients = ["{WEB}"]
[[callers]]
name = "web"
app_client = "{WEB}"
attributes = ["{released}"]
[[callers]]
name = "sidecar"
network = ["127.0.0.0/8", "unix"]
reads = "any"
attributes = ["{released}"]
"#,
        id = cognito.pool_id(),
        issuer = cognito.issuer(),
        jwks = cognito.jwks_url(),
        endpoint = cognito.endpoint_url(),
    )
}

const PATIENCE: Duration = Duration::from_secs(60);
