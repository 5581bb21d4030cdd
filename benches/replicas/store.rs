//! A server of the store, on a Unix socket and on a port of loopback.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

/// Killed on drop.
pub(super) struct Store {
    pub(super) port: u16,
    process: Child,
}

impl Store {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let store = Self { port, process: spawn(port) };
        store.wait();
        store
    }

    pub(super) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Starts it again, empty, on the same port.
    pub(super) fn restart(&mut self) {
        self.kill();
        self.process = spawn(self.port);
        self.wait();
    }

    pub(super) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    pub(super) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.process.id()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
    }

    /// The memory that its data takes, in bytes.
    pub(super) fn used_bytes(&self) -> u64 {
        let info = self.command("INFO memory");
        let line = info.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap();
        line.trim().parse().unwrap()
    }

    /// Runs a command in one line, and returns its reply.
    pub(super) fn command(&self, line: &str) -> String {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).unwrap();
        // The server then ends the connection.
        stream.write_all(format!("{line}\r\nQUIT\r\n").as_bytes()).unwrap();
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply).unwrap();
        String::from_utf8_lossy(&reply).into_owned()
    }

    fn wait(&self) {
        for _ in 0..500 {
            if TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok() {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("the store does not start");
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// The name and version of the server.
pub(super) fn version() -> String {
    let output = Command::new(program()).arg("--version").output();
    let output = output.expect("install valkey-server or redis-server, or run `tests/run unit` once");
    String::from_utf8(output.stdout).unwrap().split(" sha=").next().unwrap().to_owned()
}

fn spawn(port: u16) -> Child {
    Command::new(program())
        .args(["--port", &port.to_string(), "--save", "", "--appendonly", "no"])
        .stdout(Stdio::null())
        .spawn()
        .expect("install valkey-server or redis-server, or run `tests/run unit` once")
}

fn program() -> PathBuf {
    let installed =
        Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("tools/stores").join("valkey-server");
    if installed.exists() { installed } else { "redis-server".into() }
}
