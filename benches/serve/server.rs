//! A server in its own process, so that its CPU time and memory can be measured.

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{peer::Peer, settings::Settings};

/// A running server. It is killed on drop.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    /// The address of the metrics, which the peers do not have.
    admin: Option<SocketAddr>,
    log: Receiver<String>,
    process: Process,
    /// Removed on drop.
    _folder: TempDir,
}

impl Server {
    /// Starts the service.
    pub(crate) fn ours(settings: &Settings) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("settings.toml");
        fs::write(&file, settings.to_string()).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_cognito-lookup"));
        command.env_clear().envs([("AWS_ACCESS_KEY_ID", "x"), ("AWS_SECRET_ACCESS_KEY", "x")]);
        Self::start(command.arg("serve").arg("--config").arg(file), folder)
    }

    pub(crate) fn peer(peer: &Peer) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("peer.json");
        fs::write(&file, serde_json::to_vec(peer).unwrap()).unwrap();
        let mut command = Command::new(env::current_exe().unwrap());
        command.env_clear().envs([("AWS_ACCESS_KEY_ID", "x"), ("AWS_SECRET_ACCESS_KEY", "x")]);
        Self::start(command.arg("--peer").arg(file), folder)
    }

    fn start(command: &mut Command, folder: TempDir) -> Self {
        // Audit records go to standard output; they are encoded and written all the same.
        let command = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = Process(command.spawn().unwrap());
        let lines = BufReader::new(process.0.stderr.take().unwrap()).lines().map_while(Result::ok);
        let (sender, log) = channel();
        thread::spawn(move || lines.for_each(|line| drop(sender.send(line))));
        let mut addresses = [None, None];
        loop {
            let line = log.recv_timeout(PATIENCE).expect("the server serves");
            let line: Value = serde_json::from_str(&line)
                .unwrap_or_else(|_| panic!("not a log line: {line}: {:?}", log.iter().collect::<Vec<_>>()));
            match line["message"].as_str() {
                Some("listening") => addresses = ["address", "admin.address"].map(|key| address(&line[key])),
                Some("serving") => break,
                _ => {}
            }
        }
        let [address, admin] = addresses;
        Self { address: address.unwrap(), admin, log, process, _folder: folder }
    }

    /// Returns the CPU time of its threads until now. schedstat counts nanoseconds, where the ticks
    /// of `stat` are 10 ms. Threads that have ended are missing, but none ends while a server
    /// serves.
    pub(crate) fn cpu(&self) -> Duration {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.process.0.id())).unwrap();
        let ran = tasks.map(|task| -> u64 {
            let text = fs::read_to_string(task.unwrap().path().join("schedstat")).unwrap();
            text.split(' ').next().unwrap().parse().unwrap()
        });
        Duration::from_nanos(ran.sum())
    }

    /// Returns its resident memory, in bytes.
    pub(crate) fn memory(&self) -> usize {
        let text = fs::read_to_string(format!("/proc/{}/status", self.process.0.id())).unwrap();
        let kibibytes = text.lines().find_map(|line| line.strip_prefix("VmRSS:")?.strip_suffix("kB"));
        kibibytes.unwrap().trim().parse::<usize>().unwrap() * 1024
    }

    /// Returns the sum of the series that start with `name`, which may have labels.
    pub(crate) fn metric(&self, name: &str) -> usize {
        let mut stream = TcpStream::connect(self.admin.unwrap()).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let values = text.lines().filter(|line| line.starts_with(name));
        let values: Vec<usize> =
            values.map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect();
        assert!(!values.is_empty(), "no {name} in {text}");
        values.iter().sum()
    }

    /// Panics if the server has logged a failed call.
    pub(crate) fn assert_no_failed_call(&self) {
        let failed =
            self.log.try_iter().find(|line| line.contains("call failed") || line.contains("cancelled"));
        assert_eq!(failed, None);
    }
}

fn address(value: &Value) -> Option<SocketAddr> {
    Some(value.as_str()?.parse().unwrap())
}

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

const PATIENCE: Duration = Duration::from_secs(10);
