//! Real servers of the shared cache, and the ways in which they fail.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::time::Instant;

/// A server on loopback, killed on drop.
pub(crate) struct Store {
    child: Child,
    pub(crate) port: u16,
    _folder: TempDir,
}

impl Store {
    /// Starts a server without persistence, with these further settings, and waits until it accepts
    /// connections.
    pub(crate) fn start(settings: &[&str]) -> Self {
        Self::start_on(free_port(), settings)
    }

    pub(crate) fn start_on(port: u16, settings: &[&str]) -> Self {
        let store = Self::begin(port, settings);
        store.wait();
        store
    }

    /// As [`start`](Self::start), with a TLS port beside the plain one.
    pub(crate) fn start_with_tls(tls_port: u16, settings: &[&str]) -> Self {
        let tls_port = tls_port.to_string();
        Self::start(&[&["--tls-port", &tls_port], settings].concat())
    }

    fn begin(port: u16, settings: &[&str]) -> Self {
        let folder = TempDir::new().unwrap();
        let child = Command::new(server())
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"])
            .arg(folder.path())
            .args(settings)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, port, _folder: folder }
    }

    pub(crate) fn sentinel(primary: u16, settings: &str) -> Self {
        let (port, folder) = (free_port(), TempDir::new().unwrap());
        let file = folder.path().join("sentinel.conf");
        let text = format!(
            "port {port}\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 {primary} 1\n\
             sentinel down-after-milliseconds main 300\nsentinel failover-timeout main 2000\n{settings}\n"
        );
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new(server());
        let child = command.arg(&file).arg("--sentinel").stdout(Stdio::null()).spawn().unwrap();
        let store = Self { child, port, _folder: folder };
        store.wait();
        store
    }

    pub(crate) fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }

    /// Sends a command and returns the first bytes of the reply.
    pub(crate) fn send(&self, command: &str) -> String {
        self.try_send(command).unwrap()
    }

    fn try_send(&self, command: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(self.address())?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(format!("{command}\r\n").as_bytes())?;
        let mut reply = vec![0; 64 * 1024];
        let read = stream.read(&mut reply)?;
        Ok(String::from_utf8_lossy(&reply[..read]).into_owned())
    }

    /// Waits until a reply contains a text.
    pub(crate) fn wait_for(&self, command: &str, text: &str) {
        let begun = Instant::now();
        let mut last = String::new();
        while begun.elapsed() < Duration::from_secs(20) {
            last = self.try_send(command).unwrap_or_default();
            if last.contains(text) {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
        panic!("{command}: {last}");
    }

    fn wait(&self) {
        let begun = Instant::now();
        while TcpStream::connect(self.address()).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(20), "the server does not start");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Stops its process, which keeps its connections.
    pub(crate) fn freeze(&self) {
        kill_process(self.pid(), Signal::STOP).unwrap();
    }

    pub(crate) fn thaw(&self) {
        kill_process(self.pid(), Signal::CONT).unwrap();
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Three servers that form a cluster.
pub(crate) struct Cluster(pub(crate) Vec<Store>);

impl Cluster {
    pub(crate) fn start() -> Self {
        let nodes: Vec<_> =
            (0..3).map(|_| Store::start_on(cluster_port(), &["--cluster-enabled", "yes"])).collect();
        for (node, slots) in nodes.iter().zip(["0 5460", "5461 10922", "10923 16383"]) {
            node.send(&format!("CLUSTER ADDSLOTSRANGE {slots}"));
            node.send(&format!("CLUSTER MEET 127.0.0.1 {}", nodes[0].port));
        }
        for node in &nodes {
            node.wait_for("CLUSTER INFO", "cluster_state:ok");
            node.wait_for("CLUSTER INFO", "cluster_known_nodes:3");
        }
        Self(nodes)
    }
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A port whose bus port, 10000 above, is valid too.
fn cluster_port() -> u16 {
    std::iter::repeat_with(free_port).find(|port| *port < 55_000).unwrap()
}

fn server() -> PathBuf {
    "redis-server".into()
}
