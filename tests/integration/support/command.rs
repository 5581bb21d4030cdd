use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

/// Settings with one pool and one caller.
pub(crate) const GOOD: &str = r#"
[[pools]]
id = "eu-west-1_AbCdEfGhI"
app_clients = ["3n4b5urk1ft4fl3mg5e62d9ado"]

[[callers]]
name = "web"
app_client = "3n4b5urk1ft4fl3mg5e62d9ado"
reads = "token"
attributes = ["name", "email"]
"#;

pub(crate) const ANY_PORT: &[&str] =
    &["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--cognito", "127.0.0.1:0"];

/// A process of the `sandbox` command, killed on drop.
pub(crate) struct Sandbox {
    process: Child,
    /// The URL of the first replica.
    pub(crate) address: String,
    /// The URL of every replica.
    pub(crate) replicas: Vec<String>,
    /// The URL of the first admin port.
    pub(crate) admin: String,
    exports: Vec<(String, String)>,
    /// The lines of its log up to the last `serving`.
    pub(crate) start: Vec<Value>,
    /// What it printed before the calls to paste.
    pub(crate) banner: Vec<String>,
}

impl Sandbox {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::start_as_documented(&[&["--loopback-caller"], arguments].concat())
    }

    /// Starts a sandbox without the caller on this machine.
    pub(crate) fn start_as_documented(arguments: &[&str]) -> Self {
        let ports = if arguments.contains(&"--listen") { &[] } else { ANY_PORT };
        let mut process = command(&[&["sandbox"], ports, arguments].concat())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let banner = BufReader::new(process.stdout.take().unwrap());
        let log = BufReader::new(process.stderr.take().unwrap());
        let mut start: Vec<Value> = Vec::new();
        let mut replicas = replicas(arguments);
        for line in log.lines().map_while(Result::ok) {
            start.extend(serde_json::from_str(&line).ok());
            if start.last().is_some_and(|line: &Value| line["message"] == "serving") {
                replicas -= 1;
                if replicas == 0 {
                    break;
                }
            }
        }
        assert_eq!(replicas, 0, "the sandbox ended before it served");
        let lines =
            banner.lines().map_while(Result::ok).take_while(|line| !line.starts_with("# by access token"));
        let lines: Vec<String> = lines.collect();
        let addresses =
            lines.iter().filter_map(|line| line.trim().strip_prefix("gRPC")?.trim().split(' ').next());
        let replicas: Vec<_> = addresses.map(|address| format!("http://{address}")).collect();
        let admin = lines
            .iter()
            .find_map(|line| line.trim().strip_prefix("Probes, metrics")?.split("/readyz").next());
        let admin = admin.unwrap().trim().to_owned();
        let exports = lines.iter().filter_map(|line| line.strip_prefix("export ")?.split_once('='));
        let exports = exports.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Self { address: replicas[0].clone(), replicas, admin, exports, start, banner: lines, process }
    }

    pub(crate) fn export(&self, name: &str) -> &str {
        &self.exports.iter().find(|(known, _)| known == name).unwrap().1
    }

    pub(crate) fn terminate(mut self) -> Option<i32> {
        let process = self.process.id().to_string();
        assert!(Command::new("kill").arg(process).status().unwrap().success());
        self.process.wait().unwrap().code()
    }
}

/// Returns how many replicas the arguments ask for.
fn replicas(arguments: &[&str]) -> usize {
    let mut arguments = arguments.iter().skip_while(|argument| **argument != "--replicas");
    arguments.nth(1).map_or(1, |count| count.parse().unwrap())
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

pub(crate) fn settings(text: &str) -> (TempDir, String) {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("settings.toml");
    fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap().to_owned();
    (folder, file)
}

pub(crate) fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    command(arguments).envs(environment.iter().copied()).output().unwrap()
}

pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cognito-lookup"));
    command.args(arguments).env_clear().env("AWS_EC2_METADATA_DISABLED", "true");
    command
}

pub(crate) fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}
